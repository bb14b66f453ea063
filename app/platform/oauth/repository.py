"""Decides how keys, clients, grants, codes and tokens are read and locked.

What a grant redeems is read `FOR UPDATE`: of eight who redeem it at once, seven must wait and then see it used.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

import asyncpg
from sqlalchemy import bindparam, delete, func, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from sqlmodel import select

from app.infra.clearing import Outdated
from app.infra.database import Tx
from app.kernel.ids import uuid7
from app.platform.oauth.domain import KeyState, StoredClient
from app.platform.oauth.tables import (
    AuthorizationCode,
    Grant,
    OAuthClient,
    RefreshToken,
    TokenEpoch,
    UsedAssertion,
)
from app.web.cursors import Cursor

_KEYS = """
SELECT kid, algorithm, state, public_jwk::text AS public_jwk, private_sealed, created_at, retired_at
FROM oauth_signing_keys WHERE state <> 'gone' ORDER BY created_at, kid
"""
_ADD_KEY = """
INSERT INTO oauth_signing_keys (id, kid, algorithm, state, public_jwk, private_sealed, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
_MOVE_KEY = """
UPDATE oauth_signing_keys SET state = $2,
    private_sealed = CASE WHEN $2 = 'active' THEN private_sealed END,
    retired_at = CASE WHEN $2 = 'active' THEN NULL ELSE coalesce(retired_at, $3) END
WHERE kid = $1
"""
OUTDATED = (
    Outdated(
        "oauth_codes",
        """DELETE FROM oauth_codes WHERE (tenant_id, id) IN
        (SELECT tenant_id, id FROM oauth_codes WHERE expires_at <= $1 LIMIT $2)""",
        kept=timedelta(days=1),
    ),
    Outdated(
        "oauth_refresh_tokens",  # used ones too stay until they run out: one that comes again must be known
        """DELETE FROM oauth_refresh_tokens WHERE (tenant_id, id) IN
        (SELECT tenant_id, id FROM oauth_refresh_tokens WHERE expires_at <= $1 LIMIT $2)""",
        kept=timedelta(days=1),
    ),
    Outdated(
        "oauth_used_assertions",
        """DELETE FROM oauth_used_assertions WHERE (tenant_id, id) IN
        (SELECT tenant_id, id FROM oauth_used_assertions WHERE expires_at <= $1 LIMIT $2)""",
        kept=timedelta(hours=1),
    ),
    Outdated(
        "oauth_grants",  # one in force is a consent, which nobody is asked for again while it is there
        """DELETE FROM oauth_grants WHERE (tenant_id, id) IN (
            SELECT g.tenant_id, g.id FROM oauth_grants g WHERE coalesce(g.revoked_at, g.created_at) <= $1
              AND NOT EXISTS (SELECT FROM oauth_refresh_tokens r WHERE (r.tenant_id, r.grant_id) = (g.tenant_id, g.id))
              AND NOT EXISTS (SELECT FROM oauth_codes c WHERE (c.tenant_id, c.grant_id) = (g.tenant_id, g.id))
            LIMIT $2)""",
        kept=timedelta(days=400),
    ),
)
"""What has run out here, in the order in which rows refer to each other."""

_LOCK = "SELECT pg_advisory_xact_lock(hashtext('oauth_signing_keys'))"
_CLIENTS = """
SELECT asked.client_id, found.*
FROM unnest($1::text[]) asked(client_id), oauth_client_in_force(asked.client_id) found
"""
_ORIGIN = "SELECT oauth_origin_registered($1)"

_Client = cast(Any, OAuthClient)
_Code = cast(Any, AuthorizationCode)
_Grant = cast(Any, Grant)
_Refresh = cast(Any, RefreshToken)
_Used = cast(Any, UsedAssertion)
_Epoch = cast(Any, TokenEpoch)

_CODE = (
    select(AuthorizationCode)
    .where(_Code.code_hash == bindparam("code_hash"), _Code.client_ref == bindparam("client_ref"))
    .with_for_update(key_share=True)
)
_REFRESH = select(RefreshToken).where(_Refresh.token_hash == bindparam("token_hash")).with_for_update(key_share=True)
_GRANT = (
    select(Grant)
    .where(_Grant.id == bindparam("grant_id"), _Grant.client_ref == bindparam("client_ref"))
    .with_for_update(key_share=True)
)
_SUCCESSOR = select(RefreshToken).where(_Refresh.id == bindparam("successor_id"))
_HELD = (
    select(RefreshToken, Grant)
    .join(Grant, (_Grant.tenant_id == _Refresh.tenant_id) & (_Grant.id == _Refresh.grant_id))
    .where(_Refresh.token_hash == bindparam("token_hash"))
)
_REVOKE = (
    update(Grant)
    .where(_Grant.id == bindparam("grant_id"), _Grant.revoked_at.is_(None))
    .values(revoked_at=bindparam("at"), revoked_reason=bindparam("reason"))
)
_EPOCH = select(_Epoch.epoch).where(_Epoch.id == bindparam("subject"))
_FORGET = delete(UsedAssertion).where(_Used.client_ref == bindparam("used_by"), _Used.expires_at < bindparam("now"))
_USE = insert(UsedAssertion).on_conflict_do_nothing().returning(_Used.id)


async def signing_keys(source: "asyncpg.Pool | asyncpg.Connection") -> Sequence[asyncpg.Record]:
    """Every key that is not gone, oldest first."""
    rows: Sequence[asyncpg.Record] = await source.fetch(_KEYS)
    return rows


async def lock_signing_keys(connection: asyncpg.Connection) -> None:
    """One rotation at a time, until the transaction ends."""
    await connection.execute(_LOCK)


async def add_signing_key(connection: asyncpg.Connection, row: tuple[object, ...]) -> None:
    await connection.execute(_ADD_KEY, *row)


async def move_signing_key(connection: asyncpg.Connection, kid: str, state: KeyState, *, at: datetime) -> None:
    """A key that signs no more loses its private part here."""
    await connection.execute(_MOVE_KEY, kid, state.value, at)


async def clients_in_force(pool: asyncpg.Pool, client_ids: Sequence[str]) -> dict[str, StoredClient]:
    """By public id, of whatever tenants; without those that are revoked. One round trip."""
    return {row["client_id"]: _stored_client(row) for row in await pool.fetch(_CLIENTS, client_ids)}


def _stored_client(row: asyncpg.Record) -> StoredClient:
    return StoredClient(
        tenant_id=row["tenant"],
        id=row["ref"],
        client_id=row["client_id"],
        name=row["name"],
        auth_method=row["auth_method"],
        secret_hash=row["secret_hash"],
        jwks=None if row["jwks"] is None else json.loads(row["jwks"]),
        grant_types=row["grant_types"],
        redirect_uris=row["redirect_uris"],
        scopes=row["scopes"],
        cors_origins=row["cors_origins"],
        mode=row["mode"],
        tenant_epoch=row["tenant_epoch"],
        client_epoch=row["client_epoch"],
    )


async def is_registered_origin(pool: asyncpg.Pool, origin: str) -> bool:
    """Whether a client in force, of whatever tenant, has registered it."""
    found: bool = await pool.fetchval(_ORIGIN, origin)
    return found


async def client_registered(tx: Tx, row_id: UUID, origin: str) -> bool:
    """Whether this client of the transaction's tenant is in force and has registered it."""
    statement = select(_Client.id).where(
        _Client.tenant_id == tx.tenant_id,
        _Client.id == row_id,
        _Client.status == "active",
        _Client.cors_origins.contains([origin]),
    )
    return (await tx.scalars(statement)).one_or_none() is not None


async def locked_client(tx: Tx, row_id: UUID) -> OAuthClient | None:
    """The client, held until the transaction ends."""
    statement = select(OAuthClient).where(_Client.id == row_id).with_for_update(key_share=True)
    found: OAuthClient | None = (await tx.scalars(statement)).one_or_none()
    return found


async def clients(tx: Tx, cursor: Cursor) -> Sequence[OAuthClient]:
    """One row more than the page."""
    return (await tx.scalars(cursor.apply(select(OAuthClient), _Client.id))).all()


async def revoke_clients(tx: Tx, *, at: datetime) -> list[tuple[UUID, str]]:
    """End every client in force; their ids and names."""
    ended = await tx.execute(
        update(OAuthClient)
        .where(_Client.status == "active")
        .values(status="revoked", revoked_at=at)
        .returning(_Client.id, _Client.name)
    )
    return [(row.id, row.name) for row in ended]


# What follows runs inside `AsyncSession.run_sync`, below Authlib.


def use_assertion(
    session: Session, tenant_id: UUID, client_ref: UUID, jti_hash: bytes, *, expires_at: datetime, now: datetime
) -> bool:
    """Whether this is the first use; a second one at the same time waits for the first. Forgets expired ones."""
    session.execute(_FORGET, {"used_by": client_ref, "now": now})
    row = {
        "tenant_id": tenant_id,
        "id": uuid7(),
        "client_ref": client_ref,
        "jti_hash": jti_hash,
        "expires_at": expires_at,
    }
    written = session.execute(_USE, row)
    return written.one_or_none() is not None


def code_for_update(session: Session, code_hash: bytes, client_ref: UUID) -> AuthorizationCode | None:
    asked = {"code_hash": code_hash, "client_ref": client_ref}
    found: AuthorizationCode | None = session.scalars(_CODE, asked).one_or_none()
    return found


def refresh_for_update(
    session: Session, token_hash: bytes, client_ref: UUID
) -> tuple[RefreshToken, Grant, RefreshToken | None] | None:
    """The token locked, its grant locked, and its successor."""
    token = session.scalars(_REFRESH, {"token_hash": token_hash}).one_or_none()
    if token is None:
        return None
    grant = session.scalars(_GRANT, {"grant_id": token.grant_id, "client_ref": client_ref}).one_or_none()
    if grant is None:
        return None
    successor = session.scalars(_SUCCESSOR, {"successor_id": token.successor_id}).one_or_none()
    return token, grant, successor


def find_refresh(session: Session, token_hash: bytes) -> tuple[RefreshToken, Grant] | None:
    """The token and its grant, unlocked."""
    found = session.execute(_HELD, {"token_hash": token_hash}).one_or_none()
    return None if found is None else (found[0], found[1])


def revoke_grant(session: Session, grant_id: UUID, *, reason: str, at: datetime) -> None:
    """End a grant for ever; a second time changes nothing."""
    session.execute(_REVOKE, {"grant_id": grant_id, "at": at, "reason": reason})


def epoch(session: Session, subject: UUID) -> int:
    """The present epoch of a person, 0 while none has begun."""
    found: int | None = session.scalars(_EPOCH, {"subject": subject}).one_or_none()
    return found or 0


async def next_epoch(tx: Tx, subject: UUID) -> int:
    """Begin a new epoch of a subject; the one that ended."""
    ended = await tx.execute(select(func.oauth_next_epoch(tx.tenant_id, subject)))
    return int(ended.scalar_one())


async def revoke_grants(tx: Tx, *, at: datetime, reason: str, **of: object) -> list[UUID]:
    """End every grant with these values (`user_id`, `session_id`, `client_ref`); their ids."""
    where = [getattr(_Grant, name) == value for name, value in of.items()]
    ended = await tx.execute(
        update(Grant)
        .where(_Grant.revoked_at.is_(None), *where)
        .values(revoked_at=at, revoked_reason=reason)
        .returning(_Grant.id)
    )
    return list(ended.scalars())


def has_granted(session: Session, client_ref: UUID, user_id: UUID, scopes: Sequence[str]) -> bool:
    """Whether the person has a grant to this client in force with all of `scopes`."""
    rows = session.scalars(
        select(Grant).where(_Grant.client_ref == client_ref, _Grant.user_id == user_id, _Grant.revoked_at.is_(None))
    )
    return any(set(scopes) <= set(row.scopes) for row in rows)
