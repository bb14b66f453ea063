"""Decides which deliveries an event makes: one for each endpoint that hears it, in the transaction that moves on.

Each endpoint has a cursor of its own, since it hears what comes after it was made or enabled. So this is a role beside
the follower that numbers events, and not one of its subscriptions.
"""

import asyncio
from contextlib import suppress
from uuid import UUID

from app.infra.database import Tx
from app.infra.process import App
from app.platform.notifications import repository
from app.platform.notifications.domain import hears
from app.platform.notifications.service.delivering import queue_delivery

BATCH = 200
IDLE_SECONDS = 0.5


async def run_webhooks(app: App, *, stop: asyncio.Event) -> None:
    """Until `stop`: follow every tenant's events for its endpoints. One process at a time (it holds a lock)."""
    while not stop.is_set():
        busy = False
        for tenant_id in await repository.tenants_behind(app.database.dispatch):
            busy |= await follow(app, tenant_id)
        if not busy:
            with suppress(TimeoutError):
                async with asyncio.timeout(IDLE_SECONDS):
                    await stop.wait()


async def follow(app: App, tenant_id: UUID) -> bool:
    """Make the deliveries of the tenant's next events; whether there may be more of them."""
    async with app.database.tx(tenant_id) as tx:
        return await _follow(tx, app)


async def _follow(tx: Tx, app: App) -> bool:
    endpoints = await repository.enabled_locked(tx)
    if not endpoints:
        return False
    events = await repository.events_after(tx, min(endpoint.position for endpoint in endpoints), BATCH)
    if not events:
        return False
    for endpoint in endpoints:
        told = await repository.told(tx, endpoint.id, [event.id for event in events])
        for event in events:
            fresh = event.position is not None and event.position > endpoint.position
            if fresh and event.id not in told and hears(endpoint.event_types, event.type):
                queue_delivery(tx, endpoint.id, event.id, event.type, now=app.clock())
        endpoint.position = max(endpoint.position, events[-1].position or 0)
    return len(events) == BATCH
