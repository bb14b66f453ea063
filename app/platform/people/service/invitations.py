"""Decides how an invitation reaches its address, and what a person does with it.

Tenancy makes the token, in the transaction that makes the invitation; until the mail is sent it rests here, sealed. So
it does once more while who came by it signs up: the mail that confirms the address leads back to it in any browser, and
holds no token but its own.
"""

import json
from datetime import datetime
from urllib.parse import quote, unquote
from uuid import UUID

import asyncpg
from sqlalchemy import text

from app.infra.crypto.envelope import UnsealError, bind, seal_with, unseal_with
from app.infra.database import Tx
from app.kernel.ids import uuid7
from app.platform.people.domain import Person
from app.platform.people.service.people import People
from app.platform.people.tables import SignUp
from app.platform.tenancy.ports import InvitationLetter
from app.platform.tenancy.service import Accepted, accept_invitation

_KEY_ID = UUID(int=0)
"""The key is the deployment's own and has no row: it is derived from its secret."""

MAX_TOKEN = 100
_PAGE = "/invitation?token="
_REQUEST = text("SELECT people_request_letter(:id, :email, :letter, :now)")


def invitation_path(token: str) -> str:
    """The page of the invitation with this token."""
    return f"{_PAGE}{quote(token[:MAX_TOKEN], safe='')}"


def invitation_in(path: str) -> str | None:
    """The token of an invitation's page; None for any other path."""
    token = unquote(path.removeprefix(_PAGE))
    return token if token and path == invitation_path(token) else None


class InvitationMail:
    """Tenancy's port `Inviter`: a request for a mail, in the tenant's own transaction."""

    def __init__(self, people: People) -> None:
        self._people = people

    async def invite(self, tx: Tx, letter: InvitationLetter) -> None:
        request_id = uuid7()
        sealed = _seal(self._people.letter_key, request_id, letter)
        values = {"id": request_id, "email": letter.email, "letter": sealed, "now": letter.sent_at}
        await tx.execute(_REQUEST, values)
        tx.tell(self._wake)

    async def _wake(self) -> None:
        self._people.mail_due.set()


async def accept(people: People, person: Person, token: str, *, now: datetime) -> Accepted:
    """Make the person a member of the tenant that invited their address. Raises what `accept_invitation` says."""
    return await accept_invitation(people.database, token, user_id=person.id, email=person.email, now=now)


def read_letter(people: People, row: asyncpg.Record) -> dict[str, str]:
    """`tenant`, `role`, `until` and `token` of a mail request. Raises `UnsealError` after the secret was changed."""
    found: dict[str, str] = json.loads(unseal_with(people.letter_key, row["letter"], _place(row["id"])))
    return found


def seal_token(people: People, sign_up_id: UUID, token: str) -> bytes:
    """The token of the invitation that a sign-up came from, for this sign-up's row alone."""
    return seal_with(people.letter_key, _KEY_ID, token.encode(), _place_beside(sign_up_id))


def unseal_token(people: People, sign_up: SignUp) -> str | None:
    """The token that waits with a sign-up. After the secret was changed there is none: the invitation's own mail still
    has it."""
    if sign_up.invitation is None:
        return None
    try:
        return unseal_with(people.letter_key, sign_up.invitation, _place_beside(sign_up.id)).decode()
    except UnsealError:
        return None


def _seal(key: bytes, request_id: UUID, letter: InvitationLetter) -> bytes:
    said = {
        "tenant": _one_line(letter.tenant_name),
        "role": _one_line(letter.role),
        "until": f"{letter.expires_at:%-d %B %Y, %H:%M} UTC",
        "token": letter.token,
    }
    return seal_with(key, _KEY_ID, json.dumps(said).encode(), _place(request_id))


def _place(request_id: UUID) -> bytes:
    return bind(b"mail_requests", b"letter", request_id.bytes)


def _place_beside(sign_up_id: UUID) -> bytes:
    return bind(b"sign_ups", b"invitation", sign_up_id.bytes)


def _one_line(name: str) -> str:
    """A name cannot begin another line of the mail, nor change its subject."""
    return " ".join(name.split())
