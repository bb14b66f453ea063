"""The statements of risk: limits, halts, and whose turn it is."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, delete, func, select

from app.infra.database import Tx
from app.kernel.ids import uuid7
from app.trading.risk.tables import RiskHalt, RiskLimit
from app.web.cursors import Cursor

_LIMITS = text("select risk_limits_for(:client, :account, :deployment)")
_TURNS = text("select accounts_advance_all(:account)")


async def limits_for(
    tx: Tx, client_id: UUID | None, account_id: UUID | None, deployment_id: UUID | None
) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """What the levels above and at these ids say, by rule, the outermost first."""
    where = {"client": client_id, "account": account_id, "deployment": deployment_id}
    found: dict[str, list[tuple[str, dict[str, Any]]]] = (await tx.execute(_LIMITS, where)).scalar_one()
    return found


async def upsert(
    tx: Tx,
    client_id: UUID | None,
    account_id: UUID | None,
    deployment_id: UUID | None,
    rule: str,
    parameters: dict[str, Any],
) -> UUID:
    """The limit's id; it is set for the innermost of the ids. Two that set it at once: the later commit stands."""
    statement = insert(RiskLimit).values(
        tenant_id=tx.tenant_id,
        id=uuid7(),
        client_id=None if account_id or deployment_id else client_id,
        account_id=None if deployment_id else account_id,
        deployment_id=deployment_id,
        rule=rule,
        parameters=parameters,
    )
    replacing = statement.on_conflict_do_update(
        index_elements=["tenant_id", "scope_id", "rule"],
        set_={"parameters": statement.excluded.parameters, "updated_at": func.clock_timestamp()},
    ).returning(col(RiskLimit.id))
    found: UUID = (await tx.scalars(replacing)).one()
    return found


async def remove(tx: Tx, scope_id: UUID | None, rule: str) -> UUID | None:
    """The id of the limit that was removed: of a client, an account or a deployment, or (None) of the tenant."""
    statement = (
        delete(RiskLimit)
        .where(
            col(RiskLimit.tenant_id) == tx.tenant_id,
            col(RiskLimit.scope_id) == (scope_id or tx.tenant_id),
            col(RiskLimit.rule) == rule,
        )
        .returning(col(RiskLimit.id))
    )
    found: UUID | None = (await tx.scalars(statement)).one_or_none()
    return found


async def decide_anew(tx: Tx, account_id: UUID | None) -> None:
    """Orders that are being decided on what held before are decided again: of one account, or (None) of all. Whoever
    begins to send one of their orders has finished, or waits until this transaction ends."""
    await tx.execute(_TURNS, {"account": account_id})


async def platform_limits(reference: asyncpg.Pool) -> dict[str, dict[str, Any]]:
    """By rule."""
    rows = await reference.fetch("SELECT rule, parameters FROM risk_platform_limits")
    return {row["rule"]: json.loads(row["parameters"]) for row in rows}


async def set_platform_limit(reference: asyncpg.Pool, rule: str, parameters: dict[str, Any] | None) -> None:
    """None: remove it."""
    if parameters is None:
        await reference.execute("DELETE FROM risk_platform_limits WHERE rule = $1", rule)
        return
    await reference.execute(
        "INSERT INTO risk_platform_limits (id, rule, parameters) VALUES ($1, $2, $3::jsonb) "
        "ON CONFLICT (rule) DO UPDATE SET parameters = excluded.parameters, updated_at = clock_timestamp()",
        uuid7(),
        rule,
        json.dumps(parameters),
    )


async def halts(tx: Tx, cursor: Cursor, *, standing: bool) -> Sequence[RiskHalt]:
    """One row more than the page, of the caller's mode."""
    statement = select(RiskHalt).where(col(RiskHalt.tenant_id) == tx.tenant_id)
    if tx.principal is not None:
        mode = col(RiskHalt.account_mode)
        statement = statement.where(mode.is_(None) | (mode == tx.principal.mode.value))
    if standing:
        statement = statement.where(col(RiskHalt.resumed_at).is_(None))
    return (await tx.scalars(cursor.apply(statement, col(RiskHalt.id)))).all()


async def lock_halt(tx: Tx, halt_id: UUID) -> RiskHalt | None:
    """The halt as it stays until `tx` ends."""
    statement = (
        select(RiskHalt)
        .where(col(RiskHalt.tenant_id) == tx.tenant_id, col(RiskHalt.id) == halt_id)
        .with_for_update(key_share=True)
    )
    found: RiskHalt | None = (await tx.scalars(statement)).one_or_none()
    return found


async def halt_platform(reference: asyncpg.Pool, *, algo_id: str | None, mode: str, reason: str, now: datetime) -> UUID:
    """The halt's id. When it returns, no order that it stops is on its way to being sent, and none will be."""
    halt_id = uuid7()
    async with reference.acquire() as connection, connection.transaction():
        await connection.execute("SELECT risk_close_gate()")
        await connection.execute(
            "INSERT INTO risk_platform_halts (id, algo_id, mode, reason, halted_at) VALUES ($1, $2, $3, $4, $5)",
            halt_id,
            algo_id,
            mode,
            reason,
            now,
        )
    return halt_id


async def resume_platform(reference: asyncpg.Pool, halt_id: UUID, *, now: datetime) -> bool:
    """False: no such halt stands."""
    done = await reference.execute(
        "UPDATE risk_platform_halts SET resumed_at = $2 WHERE id = $1 AND resumed_at IS NULL", halt_id, now
    )
    return bool(done == "UPDATE 1")


async def platform_halts(reference: asyncpg.Pool) -> Sequence[asyncpg.Record]:
    """Those that stand, the oldest first."""
    rows: Sequence[asyncpg.Record] = await reference.fetch(
        "SELECT id, algo_id, mode, reason, halted_at FROM risk_platform_halts WHERE resumed_at IS NULL ORDER BY id"
    )
    return rows
