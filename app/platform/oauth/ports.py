"""What the authorization server needs of others: people who have signed in."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from app.infra.database import Tx


@dataclass(frozen=True, slots=True)
class Session:
    """A person who signed in: when, and how (`amr`, RFC 8176)."""

    id: str
    user_id: UUID
    auth_time: datetime
    amr: tuple[str, ...]
    email: str


@dataclass(frozen=True, slots=True)
class Person:
    """A member of a tenant as they are now."""

    user_id: UUID
    email: str
    email_verified: bool
    permissions: frozenset[str]


class Asking(Protocol):
    """What a login needs to see of a request."""

    @property
    def cookies(self) -> Mapping[str, str]: ...


class Login(Protocol):
    """Sessions and members. `main` injects who builds them."""

    async def session_of(self, request: Asking) -> Session | None:
        """The signed-in person behind a request."""
        ...

    def login_url(self, next_url: str, *, again: bool) -> str:
        """Where to send a browser to sign in, and back to `next_url`: a path of ours with its query.

        `again`: somebody is signed in, and proves once more that it is them; their session stays the same.
        """
        ...

    async def stands(self, tx: Tx, user_id: UUID, session_id: str) -> bool:
        """Whether the person did not end the session since: signed out, or by a new password.

        Asked at every exchange of a code or refresh token, through `tx`. A session that only ran out stands.
        """
        ...

    async def person_of(self, tx: Tx, user_id: UUID) -> Person | None:
        """The member of the transaction's tenant; None once they left it, are suspended or gone.

        Asked at every exchange of a code or refresh token. Reads through `tx`, never through a second connection.
        """
        ...
