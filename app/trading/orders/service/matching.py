"""The matcher: what must happen when a price moves. It reads a feed's tape, and commits before it moves on.

A batch that was interrupted is read again: fills are unique by stream entry, an order leaves the book in the
transaction that records its fill, and a corporate action is applied once per position.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

import structlog
from redis.exceptions import RedisError

from app.infra.process import App
from app.kernel.orders import Fill
from app.platform.tenancy.service import tenant_ids
from app.trading.orders.service.filling import record_fills
from app.trading.orders.service.outcomes import expire, let_go
from app.trading.orders.service.waiting import lapse_waiting, show_waiting
from app.trading.paper.domain import Execution
from app.trading.paper.service import Entry, advance, checkpoint, executions, parse, resting_in
from app.trading.portfolio.service import pay_dividends, split_positions

BATCH = 500
BLOCK_MS = 200
LINGER = timedelta(milliseconds=5)
"""Between two readings of the tape: what is shown meanwhile is matched together. Each costs the database a commit."""

RETRY_SECONDS = 1
log = structlog.get_logger(__name__)


async def run_matcher(app: App, feed: str, *, stop: asyncio.Event) -> None:
    """Until `stop`. One process per feed at a time (the caller holds the lock). Database errors end it; the leader
    starts it again from the checkpoint. While Redis is away it waits."""
    after = await checkpoint(app.database.dispatch, feed)
    clock = asyncio.get_running_loop().time
    while not stop.is_set():
        began = clock()
        try:
            answer = await app.stream.xread({f"feed:{feed}": after}, count=BATCH, block=BLOCK_MS)
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("matcher.no_stream", feed=feed, error=repr(error))
            await asyncio.sleep(RETRY_SECONDS)
            continue
        if answer:
            after = await match_entries(app, feed, _entries(answer), after=after)
            await asyncio.sleep(max(began + LINGER.total_seconds() - clock(), 0))


def _entries(answer: Any) -> Sequence[Entry]:
    """The entries of the one stream that was read, whichever protocol version the server speaks."""
    entries: Sequence[Entry] = answer[0][1] if isinstance(answer, list) else next(iter(answer.values()))[0]
    return entries


async def match_entries(app: App, feed: str, entries: Sequence[Entry], *, after: str) -> str:
    """Commit everything that `entries` cause, then the checkpoint. Answers the last entry's id."""
    start, market_at = 0, None
    for place, (_, fields) in enumerate(entries):
        market_at = fields.get("at", market_at)
        if fields["type"] == "action":
            after = await _prices(app, feed, entries[start:place], after=after)
            await _action(app, feed, fields)
            start = place + 1
    await _prices(app, feed, entries[start:], after=after)
    last = entries[-1][0]
    await advance(app.database.dispatch, feed, last, datetime.fromisoformat(market_at) if market_at else None)
    return last


async def _prices(app: App, feed: str, entries: Sequence[Entry], *, after: str) -> str:
    """Prices and session ends: tenants in parallel, each tenant's executions in tape order."""
    if not entries:
        return after
    tenants: dict[UUID, list[Execution]] = defaultdict(list)
    tape = parse(entries)
    await show_waiting(app, feed, tape)
    for done in await executions(app.database.dispatch, app.stream, feed, tape, after=after):
        tenants[done.order.tenant_id].append(done)
    await asyncio.gather(*(_record(app, tenant_id, found) for tenant_id, found in tenants.items()))
    return entries[-1][0]


async def _record(app: App, tenant_id: UUID, found: Sequence[Execution]) -> None:
    """Runs of fills together; what happens between them, such as a lapse, by itself."""
    pool = app.database.pool
    for is_fill, run in groupby(found, key=lambda done: done.price is not None):
        if is_fill:
            executed = list(run)
            fills = [_fill(done, done.price) for done in executed if done.price is not None]
            set_off = {done.order.order_id: by for done in executed if (by := done.set_off_by) is not None}
            await record_fills(pool, tenant_id, fills, set_off=set_off)
            continue
        for done in run:
            await let_go(pool, done)


def _fill(done: Execution, price: int) -> Fill:
    return Fill(
        order_id=done.order.order_id,
        venue_fill_id=done.stream_id,
        instrument_id=done.order.instrument_id,
        side=done.order.side,
        quantity=done.quantity,
        price=price,
        charges_minor=0,
        occurred_at=done.at,
    )


async def _action(app: App, feed: str, fields: Mapping[str, str]) -> None:
    """A corporate action, at the ex-date's open. A split also lets resting orders of the instrument lapse: their price
    and quantity mean something else now."""
    what: dict[str, Any] = {
        "feed": feed,
        "instrument_id": UUID(fields["instrument_id"]),
        "action_id": UUID(fields["action_id"]),
        "at": datetime.fromisoformat(fields["at"]),
    }
    if fields["kind"] == "split":
        for tenant_id, order_id in await resting_in(app.database.dispatch, feed, what["instrument_id"]):
            if await app.database.pool.fetchval("select paper_withdraw($1, $2)", tenant_id, order_id):
                await expire(app.database.pool, tenant_id, order_id, "corporate action", venue_at=what["at"])
        await lapse_waiting(app, feed, what["instrument_id"], at=what["at"])
    for tenant_id in await tenant_ids(app.database):
        async with app.database.tx(tenant_id) as tx:
            if fields["kind"] == "dividend":
                await pay_dividends(tx, **what, amount=int(fields["amount"]))
            else:
                numerator, denominator = int(fields["numerator"]), int(fields["denominator"])
                await split_positions(tx, **what, numerator=numerator, denominator=denominator)
