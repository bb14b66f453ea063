"""How long after a kill switch's answer the last order still reaches the wire, through gateway and Celery.

Tenants halt one after another while all trade. Each has just placed a burst over all of its accounts, so that the halt
meets orders that wait, whose turn it is and that are on their way; others go on placing meanwhile. The figure is the
99th percentile of the milliseconds from the 202 of a halt to the last order of that tenant that the venue took (its
event `order.open`, written after the venue has it, so never too early; 0 when none came after the 202). Limit: the
second that the issue grants.
"""

import asyncio
import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import text

from app.bootstrap import App
from tests.bench.load import Answer, Connection
from tests.bench.measure import Figure, figure

HALTS, BURST, PAUSE_SECONDS = 100, 10, 0.1
OTHERS = 4
"""Callers who go on placing, each as fast as it is answered."""

LIMIT_MS = 1_000.0

_WIRE = text("""
    select o.status, o.status_reason, o.venue_order_id is not null as sent,
           (select max(e.recorded_at) from events e
            where e.tenant_id = o.tenant_id and e.subject_id = o.id and e.type = 'order.open') as opened
    from orders o where o.created_at >= :began
""")


@dataclass(frozen=True, slots=True)
class Halting:
    """One tenant that halts: `order` places its next order, `authorization` is its key."""

    tenant_id: UUID
    authorization: str
    order: Callable[[Connection], Awaitable[Answer]]


async def halt_p99(
    app: App, url: str, halting: Sequence[Halting], others: Callable[[Connection], Awaitable[Answer]]
) -> Figure:
    """The figure. `others`: an order of somebody who goes on trading. Needs a worker and the relay."""
    stop = asyncio.Event()
    load = asyncio.gather(*(_placing(url, others, stop) for _ in range(OTHERS)))
    connections = [await Connection(url, "").open() for _ in range(4)]
    answered: dict[UUID, datetime] = {}
    began = await app.database.pool.fetchval("select clock_timestamp()")
    try:
        for one in halting[:HALTS]:
            burst = (one.order(connections[number % 4]) for number in range(BURST))
            for answer in await asyncio.gather(*burst):
                _expect(answer, 201)
            body = {"mode": "halt", "reason": "bench"}
            _expect(await connections[0].post("/v1/halts", body, authorization=one.authorization), 202)
            answered[one.tenant_id] = datetime.now(UTC)
            await asyncio.sleep(PAUSE_SECONDS)
    finally:
        stop.set()
        await load
        for connection in connections:
            connection.close()
    await asyncio.sleep(2 * LIMIT_MS / 1000)  # whatever would still leave has left by then
    late, sent, stopped = [], 0, 0
    for tenant_id, at in answered.items():
        async with app.database.tx(tenant_id) as tx:
            rows = (await tx.execute(_WIRE, {"began": began})).all()
        opened = [row.opened for row in rows if row.opened is not None]
        late.append(max(((one - at).total_seconds() * 1000 for one in opened), default=0.0))
        sent += sum(row.sent for row in rows)
        stopped += sum(not row.sent for row in rows)
    if not sent or not stopped:
        raise RuntimeError(f"the halts raced with nothing: {sent} orders were sent, {stopped} were stopped")
    return figure("halt-p99", max(statistics.quantiles(late, n=100)[98], 0.0), LIMIT_MS, "ms")


async def _placing(url: str, order: Callable[[Connection], Awaitable[Answer]], stop: asyncio.Event) -> None:
    """One of the others."""
    connection = await Connection(url, "").open()
    while not stop.is_set():
        _expect(await order(connection), 201)
    connection.close()


def _expect(answer: Answer, status: int) -> None:
    if answer.status != status:
        raise RuntimeError(f"{answer.status}: {answer.body[:300]!r}")
