"""Decides what identifies a thing: a UUIDv7 in the database, a prefix and 26 characters of base32 outside."""

import hashlib
import os
import time
from uuid import UUID

from app.kernel.errors import invalid

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base32, lower case: sorts as the number does
_VALUE = {character: value for value, character in enumerate(_ALPHABET)}
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_LENGTH = 26
_SHIFTS = range(5 * _LENGTH - 10, -1, -10)
_TIME_SHIFTS = range(40, -1, -10)
_RANDOM = bytes(ord(_ALPHABET[byte % 32]) for byte in range(256))
"""A character for every byte, each as likely as the others."""


def uuid7(*, unix_ms: int | None = None) -> UUID:
    """A UUID version 7 (RFC 9562 §5.7): 48 bits of Unix milliseconds, 74 random bits. Sorts by creation time.

    Of ids that are made now 12 of those bits are the fraction of the millisecond (§6.2, method 3), as in PostgreSQL's
    `uuidv7()`: what one transaction tells is told in its order.
    """
    random = int.from_bytes(os.urandom(10))
    if unix_ms is None:
        milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
        random = random & (1 << 64) - 1 | (nanoseconds << 12) // 1_000_000 << 64
    else:
        milliseconds = unix_ms
    value = (milliseconds & (1 << 48) - 1) << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def encode_id(prefix: str, value: UUID) -> str:
    """`ord_01j…`: the public form of an id. Lexicographic order is creation order."""
    number = value.int
    return f"{prefix}_{''.join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])}"


def new_id(prefix: str) -> str:
    """An id of the same look for what is no row: 48 bits of Unix milliseconds, 80 random bits. A third of the work."""
    milliseconds = time.time_ns() // 1_000_000
    began = "".join([_PAIRS[milliseconds >> shift & 1023] for shift in _TIME_SHIFTS])
    return f"{prefix}_{began}{os.urandom(16).translate(_RANDOM).decode()}"


def decode_id(prefix: str, text: str, *, param: str = "id") -> UUID:
    """The UUID behind a public id. Raises `invalid_id` when the prefix or the form is wrong."""
    head, _, body = text.partition("_")
    if head != prefix or len(body) != _LENGTH or any(c not in _VALUE for c in body) or body[0] > "7":
        raise invalid(
            "invalid_id",
            f"{text[:64]!r} is not an id of this kind; it looks like {prefix}_ and {_LENGTH} characters.",
            param=param,
        )
    number = 0
    for character in body:
        number = number << 5 | _VALUE[character]
    return UUID(int=number)


def derive_id(*parts: object) -> UUID:
    """A UUID that is a pure function of `parts` (SHA-256, marked version 8): the same parts give the same id."""
    digest = hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).digest()
    value = int.from_bytes(digest[:16])
    value = value & ~(0xF << 76) | 0x8 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def broker_tag(order_id: UUID) -> str:
    """Our client id at the broker: 20 characters of base32 of a SHA-256 (Kite's `tag` takes 20 alphanumerics)."""
    number = int.from_bytes(hashlib.sha256(order_id.bytes).digest()[:13])
    return "".join(_ALPHABET[number >> 5 * position & 31] for position in range(20))
