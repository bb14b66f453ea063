"""Decides how entitlements are read and how usage is counted."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import asyncpg
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import select

from app.infra.database import Tx
from app.platform.plans.tables import Entitlements, Plan

Period = tuple[UUID, str]
"""A tenant, and the period in which something of its is counted."""

_ENTITLEMENTS = "SELECT plans_entitlements($1, $2)"
_ENTITLEMENTS_EACH = "SELECT t.id, plans_entitlements(t.id, NULL) AS document FROM unnest($1::uuid[]) AS t (id)"
_ENTITLEMENTS_IN_TX = text("SELECT plans_entitlements(:tenant, CAST(:at AS timestamptz))")
_COUNT = "SELECT * FROM plans_count_usage($1, $2, $3, $4)"
_CONSUME = text(
    """
    INSERT INTO usage_counters AS c (tenant_id, period, name, used) VALUES (:tenant, :period, :name, :amount)
    ON CONFLICT (tenant_id, period, name) DO UPDATE SET used = c.used + excluded.used
    WHERE CAST(:limit AS bigint) IS NULL OR c.used + excluded.used <= CAST(:limit AS bigint)
    RETURNING c.used
    """
)
_RELEASE = text(
    """
    UPDATE usage_counters SET used = greatest(0, used - :amount)
    WHERE tenant_id = :tenant AND period = :period AND name = :name
    """
)


async def entitlements_document(pool: asyncpg.Pool, tenant_id: UUID, at: datetime) -> str:
    """What `plans_entitlements` says, outside a transaction."""
    return str(await pool.fetchval(_ENTITLEMENTS, tenant_id, at))


async def entitlements_documents(pool: asyncpg.Pool, tenant_ids: Sequence[UUID]) -> dict[UUID, str]:
    """The same of several tenants, by the database's clock, in one question."""
    return {row["id"]: row["document"] for row in await pool.fetch(_ENTITLEMENTS_EACH, list(tenant_ids))}


async def own_entitlements_document(tx: Tx, at: datetime | None) -> str:
    """What `plans_entitlements` says, the transaction's own changes included. `at` None: the database's clock."""
    await tx.flush()
    return str((await tx.execute(_ENTITLEMENTS_IN_TX, {"tenant": tx.tenant_id, "at": at})).scalar_one())


async def locked_entitlements(tx: Tx) -> Entitlements | None:
    """The tenant's row, locked for a change."""
    return await tx.session.get(Entitlements, tx.tenant_id, with_for_update=True, populate_existing=True)


async def insert_entitlements(tx: Tx, plan_code: str, plan_version: int, at: datetime) -> None:
    """The tenant's first row, unless another transaction has just made it."""
    row = {"plan_code": plan_code, "plan_version": plan_version, "add_ons": {}, "overrides": {}, "version": 0}
    statement = insert(Entitlements).values(tenant_id=tx.tenant_id, updated_at=at, **row)
    await tx.execute(statement.on_conflict_do_nothing())


async def plan_version(tx: Tx, code: str, version: int | None, at: datetime) -> Plan | None:
    """This version, or the newest that is valid at `at`."""
    plans = cast(Any, Plan)
    statement = select(Plan).where(plans.code == code, plans.valid_from <= at).order_by(plans.version.desc()).limit(1)
    if version is not None:
        statement = statement.where(plans.version == version)
    found: Plan | None = (await tx.scalars(statement)).one_or_none()
    return found


async def count_usage(pool: asyncpg.Pool, name: str, more: Mapping[Period, int]) -> dict[Period, int]:
    """Add to counters, in a transaction of its own; what is used now."""
    periods = sorted(more)  # their rows are locked in one order, whoever counts
    columns = [tenant_id for tenant_id, _ in periods], [period for _, period in periods]
    rows = await pool.fetch(_COUNT, *columns, name, [more[period] for period in periods])
    return {(row["tenant_id"], row["period"]): row["used"] for row in rows}


async def consume(tx: Tx, period: str, name: str, amount: int, limit: int | None) -> bool:
    """Add to a counter unless `limit` would be passed; its row stays locked until the transaction ends."""
    if limit is not None and amount > limit:
        return False
    found = await tx.execute(
        _CONSUME, {"tenant": tx.tenant_id, "period": period, "name": name, "amount": amount, "limit": limit}
    )
    return found.first() is not None


async def release(tx: Tx, period: str, name: str, amount: int) -> None:
    """Take off a counter; never below zero."""
    await tx.execute(_RELEASE, {"tenant": tx.tenant_id, "period": period, "name": name, "amount": amount})
