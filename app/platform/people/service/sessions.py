"""Decides how a login is kept: an opaque token, stored hashed, rotated whenever more is proven, ended on demand."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select, update

from app.infra.database import PersonTx, Tx
from app.kernel.errors import not_found
from app.kernel.ids import encode_id
from app.platform.people import repository
from app.platform.people.domain import (
    ABSOLUTE,
    SECOND_FACTOR_WAIT,
    SEEN_EVERY,
    Person,
    Session,
    hash_token,
    is_in_force,
)
from app.platform.people.repository import StoredSession
from app.platform.people.service.people import People, Visitor
from app.platform.people.tables import LoginSession

PREFIX = "ses"
MAX_TOKEN = 100
_STANDS = text("SELECT people_session_stands(:user, :session)")


@dataclass(frozen=True, slots=True)
class Login:
    """What the browser is given. `token` goes into the session cookie, `device` into the device cookie.

    `pending` says that the second factor is still missing.
    """

    token: str
    pending: bool
    device: str | None = None

    def __repr__(self) -> str:
        return f"Login(pending={self.pending})"


def new_token() -> str:
    """256 random bits."""
    return secrets.token_urlsafe(32)


async def open_session(tx: PersonTx, *, amr: Sequence[str], pending: bool, visitor: Visitor, now: datetime) -> str:
    """A new session of the transaction's person; its token."""
    token = new_token()
    tx.add(
        LoginSession(
            user_id=tx.user_id,
            token_hash=hash_token(token),
            pending=pending,
            auth_time=now,
            amr=list(amr),
            source_ip=visitor.ip,
            user_agent=(visitor.user_agent or "")[:200] or None,
            last_seen_at=now,
            expires_at=now + (SECOND_FACTOR_WAIT if pending else ABSOLUTE),
            created_at=now,
        )
    )
    await tx.flush()
    return token


async def rotate_session(tx: PersonTx, session: Session, old_token: str, *, amr: Sequence[str], now: datetime) -> str:
    """A new token for `session`, which now rests on `amr` of `now`. Raises when somebody rotated it meanwhile."""
    token = new_token()
    changed = await tx.execute(
        update(LoginSession)
        .where(
            col(LoginSession.id) == session.id,
            col(LoginSession.token_hash) == hash_token(old_token),
            col(LoginSession.ended_at).is_(None),
        )
        .values(
            token_hash=hash_token(token),
            pending=False,
            auth_time=now,
            amr=list(amr),
            last_seen_at=now,
            expires_at=now + ABSOLUTE,
        )
        .returning(col(LoginSession.id))
    )
    if changed.first() is None:
        raise not_found("session", encode_id(PREFIX, session.id))
    return token


async def end_sessions(tx: PersonTx, *, now: datetime, keep: UUID | None = None) -> Sequence[UUID]:
    """End all of the person's sessions but `keep`; which, for `people.endings` once that is committed."""
    statement = update(LoginSession).where(col(LoginSession.ended_at).is_(None))
    if keep is not None:
        statement = statement.where(col(LoginSession.id) != keep)
    ended = await tx.scalars(statement.values(ended_at=now).returning(col(LoginSession.id)))
    return ended.all()


async def session_user(people: People, token: str | None, *, now: datetime) -> tuple[Person, Session] | None:
    """Who is signed in with the session cookie's value `token`, and by which session; None for nobody.

    A session without its second factor is nobody's. Notes at most once a minute that the session was seen.
    """
    found = await _in_force(people, token, now=now)
    if found is None or found.session.pending:
        return None
    if now - found.session.last_seen_at >= SEEN_EVERY:
        async with people.database.person(found.person.id) as tx:
            await tx.execute(
                update(LoginSession)
                .where(col(LoginSession.id) == found.session.id, col(LoginSession.last_seen_at) < now)
                .values(last_seen_at=now)
            )
    return found.person, found.session


async def pending_user(people: People, token: str | None, *, now: datetime) -> tuple[Person, Session] | None:
    """Who gave a password and still owes the second factor."""
    found = await _in_force(people, token, now=now)
    return (found.person, found.session) if found is not None and found.session.pending else None


async def _in_force(people: People, token: str | None, *, now: datetime) -> StoredSession | None:
    if not token or len(token) > MAX_TOKEN:
        return None
    found = await repository.find_by_session(people.database.pool, hash_token(token))
    if found is None or found.person.status != "active":
        return None
    session = found.session
    good = is_in_force(
        last_seen_at=session.last_seen_at, expires_at=session.expires_at, ended_at=found.ended_at, now=now
    )
    return found if good else None


async def list_sessions(people: People, person: Person, *, now: datetime) -> list[LoginSession]:
    """The person's sessions in force, the one seen last first."""
    statement = (
        select(LoginSession)
        .where(col(LoginSession.ended_at).is_(None), col(LoginSession.pending).is_(False))
        .order_by(cast(Any, LoginSession.last_seen_at).desc())
    )
    async with people.database.person(person.id) as tx:
        rows: Sequence[LoginSession] = (await tx.scalars(statement)).all()
    return [
        row
        for row in rows
        if is_in_force(last_seen_at=row.last_seen_at, expires_at=row.expires_at, ended_at=row.ended_at, now=now)
    ]


async def end_session(people: People, person: Person, session_id: UUID, *, now: datetime) -> None:
    """End one of the person's sessions; a second time changes nothing. Raises `session_not_found`."""
    async with people.database.person(person.id) as tx:
        row = await tx.get(LoginSession, session_id)
        if row is None:
            raise not_found("session", encode_id(PREFIX, session_id))
        row.ended_at = row.ended_at or now
    await people.endings.sessions_ended([session_id])


async def session_stands(tx: Tx, user_id: UUID, session_id: UUID) -> bool:
    """Whether nobody ended this login, asked in a tenant's transaction. One that only ran out still stands."""
    return bool((await tx.scalars(_STANDS, {"user": user_id, "session": session_id})).one())


async def log_out(people: People, token: str | None, *, now: datetime) -> None:
    """End the session of this cookie, whatever its state: what was granted by it may outlive its time."""
    if not token or len(token) > MAX_TOKEN:
        return
    found = await repository.find_by_session(people.database.pool, hash_token(token))
    if found is not None:
        await end_session(people, found.person, found.session.id, now=now)
