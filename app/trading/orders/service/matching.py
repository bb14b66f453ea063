"""The matcher: what must happen when a price moves. It reads a feed's tape, and commits before it moves on.

A batch that was interrupted is read again: fills are unique by stream entry, an order leaves the book in the
transaction that records its fill, and a corporate action is applied once per position.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby, zip_longest
from typing import Any
from uuid import UUID

import asyncpg
import structlog
from redis.exceptions import RedisError

from app.infra.process import App
from app.kernel.orders import Fill
from app.platform.tenancy.service import tenant_ids
from app.trading.orders.service.filling import record_fills
from app.trading.orders.service.outcomes import expire, let_go
from app.trading.orders.service.waiting import lapse_waiting, show_waiting
from app.trading.paper.domain import Close, Execution, Price
from app.trading.paper.service import Entry, advance, checkpoint, executions, parse, resting_in
from app.trading.portfolio.service import pay_dividends, split_positions, was_applied

BATCH = 500
BLOCK_MS = 200
LINGER = timedelta(milliseconds=5)
"""Between two readings of the tape: what is shown meanwhile is matched together. Each costs the database a commit."""

RETRY_SECONDS = 1
_MET = "select waits, rests from orders_met($1, $2, $3, $4, $5, $6, $7)"
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
    start, last = 0, entries[-1][0]
    told = [fields["at"] for _, fields in entries if "at" in fields]
    market_at = datetime.fromisoformat(told[-1]) if told else None
    for place, (name, fields) in enumerate(entries):
        if fields["type"] == "action":
            await _prices(app, feed, entries[start:place], after=after)
            await _action(app, feed, fields)
            start, after = place + 1, name
    if not await _prices(app, feed, entries[start:], after=after, market_at=market_at, last=True):
        await advance(app.database.dispatch, feed, last, market_at)
    return last


async def _prices(
    app: App,
    feed: str,
    entries: Sequence[Entry],
    *,
    after: str,
    market_at: datetime | None = None,
    last: bool = False,
) -> bool:
    """Prices and session ends: many tenants together, each tenant's executions in tape order. Whether nothing had to be
    done and (`last`) the checkpoint is written."""
    tape = parse(entries)
    if not tape:
        return False
    upto = entries[-1][0] if last else None
    waiting, book = await _met(app.database.dispatch, feed, tape, upto, market_at)
    await show_waiting(app, waiting, tape)
    tenants: dict[UUID, list[Execution]] = defaultdict(list)
    for done in await executions(app.stream, feed, book, tape, after=after):
        tenants[done.order.tenant_id].append(done)
    await _record(app.database.pool, tenants)
    return last and not waiting and not book


async def _met(
    dispatch: asyncpg.Pool, feed: str, tape: Sequence[Price | Close], upto: str | None, market_at: datetime | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What waits with us, and what rests at the paper venue, that `tape` may do something to."""
    shown: defaultdict[UUID, list[int]] = defaultdict(list)
    for entry in tape:
        if isinstance(entry, Price):
            shown[entry.instrument_id].append(entry.price)
    lows, highs = [min(prices) for prices in shown.values()], [max(prices) for prices in shown.values()]
    venues = list({entry.venue for entry in tape if isinstance(entry, Close)})
    rows = await dispatch.fetch(_MET, feed, list(shown), lows, highs, venues, upto, market_at)
    waiting = [json.loads(row["waits"]) for row in rows if row["waits"] is not None]
    return waiting, [json.loads(row["rests"]) for row in rows if row["rests"] is not None]


async def _record(pool: asyncpg.Pool, executed: Mapping[UUID, Sequence[Execution]]) -> None:
    """Each tenant's in their order: runs of fills together, and what happens between them, such as a lapse."""
    runs = {
        tenant_id: [list(run) for _, run in groupby(theirs, key=lambda done: done.price is None)]
        for tenant_id, theirs in executed.items()
    }
    for turn in zip_longest(*runs.values(), fillvalue=[]):
        fills = {
            run[0].order.tenant_id: [_fill(done, done.price) for done in run if done.price is not None]
            for run in turn
            if run and run[0].price is not None
        }
        set_off = {done.order.order_id: by for run in turn for done in run if (by := done.set_off_by) is not None}
        others = [run for run in turn if run and run[0].price is None]
        await asyncio.gather(record_fills(pool, fills, set_off=set_off), *(_let_go(pool, run) for run in others))


async def _let_go(pool: asyncpg.Pool, executed: Sequence[Execution]) -> None:
    for done in executed:
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
    """A corporate action, at the ex-date's open, for each tenant once. A split also lets the instrument's orders lapse:
    their price and quantity mean something else now."""
    what: dict[str, Any] = {
        "feed": feed,
        "instrument_id": UUID(fields["instrument_id"]),
        "action_id": UUID(fields["action_id"]),
        "at": datetime.fromisoformat(fields["at"]),
    }
    tenants = [it for it in await tenant_ids(app.database) if not await _was_applied(app, it, what)]
    if fields["kind"] == "split":
        for tenant_id, order_id in await resting_in(app.database.dispatch, feed, what["instrument_id"]):
            if tenant_id in tenants:
                await expire(app.database.pool, tenant_id, order_id, "corporate action", venue_at=what["at"])
        await lapse_waiting(app, feed, what["instrument_id"], of=tenants, at=what["at"])
    for tenant_id in tenants:
        async with app.database.tx(tenant_id) as tx:
            if fields["kind"] == "dividend":
                await pay_dividends(tx, **what, amount=int(fields["amount"]))
            else:
                numerator, denominator = int(fields["numerator"]), int(fields["denominator"])
                await split_positions(tx, **what, numerator=numerator, denominator=denominator)


async def _was_applied(app: App, tenant_id: UUID, action: Mapping[str, Any]) -> bool:
    async with app.database.tx(tenant_id) as tx:
        return await was_applied(tx, action["feed"], action["action_id"])
