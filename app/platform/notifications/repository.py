"""Decides how webhooks are read."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import asyncpg
from sqlalchemy import delete, func, select
from sqlmodel import select as select_rows

from app.infra.clearing import Outdated
from app.infra.database import Tx
from app.infra.events.tables import EventRow
from app.platform.notifications.tables import WebhookDelivery, WebhookEndpoint
from app.web.cursors import Cursor

_Endpoint, _Delivery, _Event = cast(Any, WebhookEndpoint), cast(Any, WebhookDelivery), cast(Any, EventRow)
OUTDATED = (
    Outdated(
        "webhook_deliveries",  # one that is still tried has not finished
        """DELETE FROM webhook_deliveries WHERE (tenant_id, id) IN
        (SELECT tenant_id, id FROM webhook_deliveries WHERE finished_at <= $1 LIMIT $2)""",
        kept=timedelta(days=30),
    ),
)
"""What has run out here."""

_BEHIND = """
select distinct e.tenant_id from webhook_endpoints e join event_heads h using (tenant_id)
where e.status = 'enabled' and h.position > e.position order by e.tenant_id
"""


async def tenants_behind(dispatch: asyncpg.Pool) -> list[UUID]:
    """Tenants with an endpoint that has not been told of every event."""
    return [row["tenant_id"] for row in await dispatch.fetch(_BEHIND)]


async def head(tx: Tx) -> int:
    """The position of the tenant's last event; 0 before the first."""
    found: int | None = (await tx.scalars(select(func.max(_Event.position)))).one()
    return found or 0


async def endpoints(tx: Tx, cursor: Cursor) -> Sequence[WebhookEndpoint]:
    """One row more than the page."""
    return (await tx.scalars(cursor.apply(select_rows(WebhookEndpoint), _Endpoint.id))).all()


async def count(tx: Tx) -> int:
    found: int = (await tx.scalars(select(func.count()).select_from(WebhookEndpoint))).one()
    return found


async def locked(tx: Tx, endpoint_id: UUID) -> WebhookEndpoint | None:
    """The endpoint, held until the transaction ends: outcomes of deliveries at once are counted one by one."""
    statement = select_rows(WebhookEndpoint).where(_Endpoint.id == endpoint_id).with_for_update(key_share=True)
    found: WebhookEndpoint | None = (await tx.scalars(statement)).one_or_none()
    return found


async def enabled_locked(tx: Tx) -> Sequence[WebhookEndpoint]:
    """The endpoints that hear, held until the transaction ends."""
    statement = select_rows(WebhookEndpoint).where(_Endpoint.status == "enabled").order_by(_Endpoint.id)
    return (await tx.scalars(statement.with_for_update(key_share=True))).all()


async def events_after(tx: Tx, position: int, limit: int) -> Sequence[EventRow]:
    """Events in the tenant's order."""
    statement = select_rows(EventRow).where(_Event.position > position).order_by(_Event.position).limit(limit)
    return (await tx.scalars(statement)).all()


async def deliveries(tx: Tx, endpoint_id: UUID, cursor: Cursor) -> Sequence[WebhookDelivery]:
    """One row more than the page."""
    statement = select_rows(WebhookDelivery).where(_Delivery.endpoint_id == endpoint_id)
    return (await tx.scalars(cursor.apply(statement, _Delivery.id))).all()


async def told(tx: Tx, endpoint_id: UUID, event_ids: Sequence[UUID]) -> set[UUID]:
    """Which of the events the endpoint has a delivery of."""
    statement = select(_Delivery.event_id).where(
        _Delivery.endpoint_id == endpoint_id, _Delivery.event_id.in_(event_ids)
    )
    return set((await tx.scalars(statement)).all())


async def delete_endpoint(tx: Tx, endpoint_id: UUID) -> None:
    """The endpoint with its deliveries."""
    await tx.execute(delete(WebhookEndpoint).where(_Endpoint.id == endpoint_id))
