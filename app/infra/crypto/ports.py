"""Decides what a keeper of key-encryption keys must do: a file on this machine, or a key management service."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

Context = Mapping[str, str]
"""What a wrapped key is bound to: whose it is and its id. Not secret; a key management service logs it."""


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A data key under the key-encryption key `kek_id`."""

    data: bytes = field(repr=False)
    kek_id: str


class KeyKeeper(Protocol):
    """Wraps and unwraps data keys; the key-encryption keys never leave it.

    Every method may use the network: no transaction is open meanwhile. All raise `keys_unavailable` (a `DomainError`
    that may be tried again), `unwrap` also `UnsealError`.
    """

    async def current(self) -> str:
        """The id of the key that `wrap` uses now."""

    async def wrap(self, key: bytes, context: Context) -> Wrapped:
        """`key` under the current key-encryption key, for this `context` only."""

    async def unwrap(self, wrapped: Wrapped, context: Context) -> bytes:
        """The key that was wrapped. Raises `UnsealError` for another context, or bytes that were altered."""

    async def rotate(self) -> str:
        """Begin a new current key, where the keeper makes keys by itself; the current id. Older ones still unwrap."""
