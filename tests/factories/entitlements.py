"""Tenants with limits of a test's own: small enough to be reached."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from app.infra.database import Database
from app.platform.plans.domain import Override
from app.platform.plans.service import set_override


async def limit_tenant(database: Database, tenant_id: UUID, **limits: int | None) -> None:
    """Override quotas of a tenant: `limit_tenant(database, tenant, accounts=2)`."""
    for name, value in limits.items():
        await override(database, tenant_id, f"limits.{name}", value)


async def slow_tenant(
    database: Database, tenant_id: UUID, cost_class: str, quota: int, *, per_credential: int | None = None
) -> None:
    """Override a rate of a tenant: `quota` calls an hour, so that none comes back during a test."""
    rate = {"quota": quota, "window_s": 3_600, "per_credential": per_credential or quota}
    await override(database, tenant_id, f"rates.{cost_class}", rate)


async def override(database: Database, tenant_id: UUID, key: str, value: Any) -> None:
    """One override without an end."""
    async with database.tx(tenant_id) as tx:
        made = Override.model_validate({"value": value, "reason": "a test"})
        await set_override(tx, key, made, reason="a test", now=datetime.now(UTC))
