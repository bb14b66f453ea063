"""Decides what sending is: one POST to an address that a tenant named, or a word for why there was no answer."""

from collections.abc import Mapping
from typing import Protocol


class Answer(Protocol):
    """Status, headers in lower case, and at most 2 KB of the body."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...


class Sender(Protocol):
    """`infra.outbound.client.OutboundClient` is the one that is safe to use."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Raises `CallFailed`, and `invalid_url`."""
        ...
