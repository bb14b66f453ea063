"""Decides what a sealed value looks like, and what it is bound to: moved to any other place, it does not open.

    version (1 byte) | id of the data key (16) | nonce (12) | AES-256-GCM ciphertext and tag

Associated data are the first two fields and the place. Nonces are random: 2^32 values under one data key keep the
chance of a repeated one below 2^-32 (NIST SP 800-38D, 8.3), far more than the secrets of a tenant.
"""

import os
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
_VERSION = b"\x01"
_HEADER_BYTES = 1 + 16


class UnsealError(ValueError):
    """This is not what was sealed at this place, or its key is gone. The message repeats neither key nor content."""


def bind(*parts: bytes) -> bytes:
    """The parts as one, each behind its length, so that no two lists of parts give the same bytes."""
    return b"".join(len(part).to_bytes(4) + part for part in parts)


def place_of(tenant_id: UUID, table: str, column: str, row_id: UUID) -> bytes:
    """What a column's value is bound to."""
    return bind(b"row", tenant_id.bytes, table.encode(), column.encode(), row_id.bytes)


def seal_with(key: bytes, key_id: UUID, plaintext: bytes, place: bytes) -> bytes:
    """`plaintext` sealed under the data key `key` (32 bytes), whose id it carries, for `place` only."""
    header = _VERSION + key_id.bytes
    nonce = os.urandom(NONCE_BYTES)
    return header + nonce + AESGCM(key).encrypt(nonce, plaintext, header + place)


def key_id_of(sealed: bytes) -> UUID:
    """Which data key opens it. Raises `UnsealError` for what this module did not write."""
    if len(sealed) < _HEADER_BYTES + NONCE_BYTES + TAG_BYTES or sealed[:1] != _VERSION:
        raise UnsealError("this is not a sealed value: its length or its version is wrong")
    return UUID(bytes=sealed[1:_HEADER_BYTES])


def unseal_with(key: bytes, sealed: bytes, place: bytes) -> bytes:
    """What was sealed. Raises `UnsealError` when a bit of it, its key or its place is another."""
    key_id_of(sealed)
    header, nonce = sealed[:_HEADER_BYTES], sealed[_HEADER_BYTES : _HEADER_BYTES + NONCE_BYTES]
    try:
        return AESGCM(key).decrypt(nonce, sealed[_HEADER_BYTES + NONCE_BYTES :], header + place)
    except InvalidTag:
        raise UnsealError("this value was altered, or sealed at another place") from None
