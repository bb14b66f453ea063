"""Decides how people are found before they are known: by exact credential, through functions that take nothing else."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from app.infra.clearing import Outdated
from app.platform.people.domain import Person, Session

_BY_EMAIL = "SELECT * FROM people_by_email($1)"
_BY_SESSION = "SELECT * FROM people_by_session($1)"
_BY_MAIL_TOKEN = "SELECT * FROM people_by_mail_token($1, $2)"  # noqa: S105  # a statement
OUTDATED = (
    Outdated(
        "mail_tokens",
        "DELETE FROM mail_tokens WHERE id IN (SELECT id FROM mail_tokens WHERE expires_at <= $1 LIMIT $2)",
        kept=timedelta(days=1),
    ),
    Outdated(
        "sign_ups",  # whose link is good for a day, once the mail is through
        "DELETE FROM sign_ups WHERE id IN (SELECT id FROM sign_ups WHERE created_at <= $1 LIMIT $2)",
        kept=timedelta(days=3),
    ),
    Outdated(
        "login_sessions",  # what a login granted lives on beyond it, and ends with this row at the latest
        "DELETE FROM login_sessions WHERE id IN (SELECT id FROM login_sessions WHERE expires_at <= $1 LIMIT $2)",
        kept=timedelta(days=90),
    ),
)
"""What has run out here."""

_LEASE_MAIL = """
UPDATE mail_requests SET attempts = attempts + 1, available_at = $1 + least(attempts + 1, 60) * interval '1 minute'
WHERE id = (SELECT id FROM mail_requests WHERE available_at <= $1 ORDER BY available_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, user_id, purpose, email, letter, attempts
"""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A person and the hash that a password is checked against."""

    person: Person
    password_hash: str

    def __repr__(self) -> str:
        return f"Credentials({self.person.id})"


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session as it stands, perhaps no longer in force, and whose it is."""

    session: Session
    person: Person
    ended_at: datetime | None


async def find_by_email(pool: asyncpg.Pool, email: str) -> Credentials | None:
    row = await pool.fetchrow(_BY_EMAIL, email)
    if row is None:
        return None
    return Credentials(Person(row["id"], email, row["status"], row["second_factor"]), row["password_hash"])


async def find_by_session(pool: asyncpg.Pool, token_hash: bytes) -> StoredSession | None:
    row = await pool.fetchrow(_BY_SESSION, token_hash)
    if row is None:
        return None
    session = Session(
        id=row["id"],
        user_id=row["user_id"],
        pending=row["pending"],
        auth_time=row["auth_time"],
        amr=tuple(row["amr"]),
        last_seen_at=row["last_seen_at"],
        expires_at=row["expires_at"],
    )
    return StoredSession(
        session, Person(row["user_id"], row["email"], row["status"], row["second_factor"]), row["ended_at"]
    )


async def find_by_mail_token(pool: asyncpg.Pool, token_hash: bytes, purpose: str, *, now: datetime) -> UUID | None:
    """Whose unused token this is, while it is good."""
    row = await pool.fetchrow(_BY_MAIL_TOKEN, token_hash, purpose)
    if row is None or row["used_at"] is not None or row["expires_at"] <= now:
        return None
    found: UUID = row["user_id"]
    return found


async def lease_mail(dispatch: asyncpg.Pool, now: datetime) -> asyncpg.Record | None:
    """The next mail that is due, put off meanwhile: whoever dies while sending leaves it to the next attempt."""
    return await dispatch.fetchrow(_LEASE_MAIL, now)


async def forget_mail(dispatch: asyncpg.Pool, request_id: UUID) -> None:
    await dispatch.execute("DELETE FROM mail_requests WHERE id = $1", request_id)
