"""Decides what an API key looks like, what it may do, and when it is still good."""

import hashlib
import hmac
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from app.kernel.errors import DomainError, Kind, invalid
from app.kernel.events import EventPayload, EventType, Named
from app.kernel.orders import Mode
from app.platform.tenancy.domain import PERMISSIONS

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base32, lower case
ID_LENGTH = 12
SECRET_BYTES = 32
SECRET_LENGTH = 52  # characters of base32 for 256 bits
SHAPE = "sk_<test|live>_<cell>_<12 characters>_<52 characters>"
_KEY = re.compile(
    rf"sk_(test|live)_([a-z]{{2}}[0-9]{{1,2}})_([{ALPHABET}]{{{ID_LENGTH}}})_[{ALPHABET}]{{{SECRET_LENGTH}}}", re.ASCII
)


@dataclass(frozen=True, slots=True)
class ParsedKey:
    """The parts of a key that are not secret."""

    mode: Mode
    cell: str
    key_id: str


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What the lookup knows of a key. `user_id`: who made it and answers for it; None for a key of the platform's."""

    tenant_id: UUID
    id: UUID
    secret_hash: bytes
    scopes: frozenset[str]
    mode: Mode
    expires_at: datetime | None
    revoked_at: datetime | None
    user_id: UUID | None = None


def encode_base32(data: bytes, length: int) -> str:
    """The last `length` base32 digits of `data` read as a number."""
    number = int.from_bytes(data)
    return "".join(ALPHABET[number >> 5 * place & 31] for place in reversed(range(length)))


def format_key(mode: Mode, cell: str, key_id: str, secret: bytes) -> str:
    """The key as its owner holds it. `secret` is 32 random bytes."""
    return f"sk_{mode}_{cell}_{key_id}_{encode_base32(secret, SECRET_LENGTH)}"


def parse_key(text: str, *, cell: str) -> ParsedKey:
    """The parts of `text`. Raises `malformed_api_key`, `wrong_cell`; neither repeats the key."""
    match = _KEY.fullmatch(text)
    if match is None:
        raise _unauthenticated(
            "malformed_api_key", f"This is not an API key. A key looks like {SHAPE}; copy it whole, without quotes."
        )
    mode, named_cell, key_id = match.groups()
    if named_cell != cell:
        raise _unauthenticated(
            "wrong_cell", f"This key belongs to the cell {named_cell}; here is {cell}. Call the host of {named_cell}."
        )
    return ParsedKey(Mode(mode), named_cell, key_id)


def hash_key(text: str) -> bytes:
    """SHA-256 of the whole key: mode and cell cannot be swapped. The key has 256 random bits: no slow hash needed."""
    return hashlib.sha256(text.encode()).digest()


def check_key(stored: StoredKey | None, digest: bytes, *, now: datetime) -> StoredKey:
    """`stored` when `digest` is its hash and it is in force. An unknown key and a wrong secret are not told apart.

    Raises `invalid_api_key`; `api_key_revoked`, `api_key_expired` only to whoever holds the right secret.
    """
    matches = hmac.compare_digest(digest, stored.secret_hash if stored else bytes(32))
    if stored is None or not matches:
        raise _unauthenticated("invalid_api_key", "No key like this is in force. Check it, or make a new one.")
    if stored.revoked_at is not None:
        raise _unauthenticated("api_key_revoked", "This key was revoked. Use another one.")
    if stored.expires_at is not None and stored.expires_at <= now:
        raise _unauthenticated("api_key_expired", f"This key expired at {stored.expires_at.isoformat()}.")
    return stored


def check_grant(scopes: Sequence[str], held: Collection[str]) -> list[str]:
    """`scopes` sorted, each once, when all exist and whoever grants them holds them.

    Raises `unknown_scope`, `no_scopes`, `scope_not_held`.
    """
    wanted = sorted(set(scopes))
    if not wanted:
        raise invalid("no_scopes", "Name at least one scope.", param="scopes")
    unknown = [scope[:64] for scope in wanted if scope not in PERMISSIONS]
    if unknown:
        known = ", ".join(PERMISSIONS)
        raise invalid("unknown_scope", f"{unknown[0]!r} is not a scope. Scopes are {known}.", param="scopes")
    beyond = [scope for scope in wanted if scope not in held]
    if beyond:
        raise DomainError(
            "scope_not_held",
            Kind.FORBIDDEN,
            f"A key can only grant what it has itself; this one lacks {', '.join(beyond)}.",
            param="scopes",
        )
    return wanted


def _unauthenticated(code: str, message: str) -> DomainError:
    return DomainError(code, Kind.UNAUTHENTICATED, message)


class CredentialCreated(EventPayload):
    """What a new credential may do. Its secret is told once, to whoever made it, and never here."""

    name: str = Field(description="The name that its maker gave it.")
    scopes: list[str] = Field(description="What it may do.")
    mode: Literal["test", "live"] = Field(description="The accounts that it may trade.")


EVENTS = (
    EventType("api_key.created", "key", "An API key was created.", CredentialCreated),
    EventType("api_key.revoked", "key", "An API key was revoked.", Named),
)
