"""Decides how tenants and members are read."""

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

import asyncpg
from sqlmodel import select

from app.infra.database import Tx
from app.platform.tenancy.tables import Member, Tenant
from app.web.cursors import Cursor


async def own_tenant(tx: Tx) -> Tenant | None:
    return await tx.get(Tenant, tx.tenant_id)


async def members(tx: Tx, cursor: Cursor) -> Sequence[Member]:
    """One row more than the page."""
    return (await tx.scalars(cursor.apply(select(Member), cast(Any, Member.id)))).all()


async def member_by_email(tx: Tx, email: str) -> Member | None:
    found: Member | None = (await tx.scalars(select(Member).where(Member.email == email))).one_or_none()
    return found


async def all_ids(dispatch: asyncpg.Pool) -> list[UUID]:
    return [row["tenant_id"] for row in await dispatch.fetch("select tenant_id from tenants order by tenant_id")]
