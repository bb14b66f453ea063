"""The paper venue: takes orders into its book, and turns the tape's entries into executions."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import cast
from uuid import UUID

import asyncpg
from redis.asyncio import Redis

from app.infra.redis import REDIS_ERRORS
from app.kernel.orders import OrderType, Side, Validity
from app.trading.brokers.ports import Accepted, BrokerOrder, Outcome, Rejected
from app.trading.paper import repository
from app.trading.paper.domain import Close, Execution, Price, Resting, execute, stream_key
from app.trading.paper.repository import advance, checkpoint, resting_in

__all__ = ["Entry", "PaperBroker", "advance", "checkpoint", "executions", "parse", "resting_in"]

Entry = tuple[str, Mapping[str, str]]
_LOOK_BACK = 500
"""How far back a price is searched that an order may have seen; what arrived before that has seen one."""


class PaperBroker:
    """`Broker` for paper accounts. Its book is a table, so `find` is always sure."""

    def __init__(self, pool: asyncpg.Pool, stream: Redis) -> None:
        self._pool = pool
        self._stream = stream

    async def submit(self, order: BrokerOrder) -> Outcome:
        """The order rests from behind the stream's last entry: it can meet no price shown before it arrived."""
        resting = {
            "id": str(order.order_id),
            "account_id": str(order.account_id),
            "feed": order.feed,
            "instrument_id": str(order.instrument_id),
            "venue": order.venue,
            "side": order.side,
            "order_type": order.order_type,
            "validity": order.validity,
            "limit_price": order.limit_price,
            "remaining": order.quantity,
            "tick": order.tick,
            "slippage_bps": order.slippage_bps,
            "arrived_after": await self._last_entry(order.feed),
        }
        await self._pool.execute("select paper_accept($1, $2::jsonb)", order.tenant_id, json.dumps(resting))
        return Accepted(order.tag)

    async def cancel(self, order: BrokerOrder) -> Outcome:
        """Also of an order that no longer rests: nothing more will fill either way."""
        await self._pool.fetchval("select paper_withdraw($1, $2)", order.tenant_id, order.order_id)
        return Accepted(order.tag)

    async def find(self, order: BrokerOrder) -> Outcome:
        if await self._pool.fetchval("select paper_rests($1, $2)", order.tenant_id, order.order_id):
            return Accepted(order.tag)
        return Rejected("not in the book")

    async def _last_entry(self, feed: str) -> str:
        try:
            last = await self._stream.xrevrange(f"feed:{feed}", count=1)
        except REDIS_ERRORS:
            return "0-0"  # no stream, no price meanwhile: a new one gets greater ids than all before
        return str(last[0][0]) if last else "0-0"


def parse(entries: Sequence[Entry]) -> list[Price | Close]:
    """The tape entries that the book reacts to, in order."""
    tape: list[Price | Close] = []
    for stream_id, fields in entries:
        if fields["type"] == "price":
            tape.append(
                Price(
                    stream_id,
                    UUID(fields["instrument_id"]),
                    int(fields["price"]),
                    int(fields["volume"]),
                    fields["first"] == "1",
                    datetime.fromisoformat(fields["at"]),
                )
            )
        elif fields["type"] == "session_close":
            tape.append(Close(stream_id, fields["venue"], datetime.fromisoformat(fields["at"])))
    return tape


async def executions(
    dispatch: asyncpg.Pool, stream: Redis, feed: str, tape: Sequence[Price | Close], *, after: str
) -> list[Execution]:
    """What `tape` does to the book; `after` is the last entry matched before it. Writes nothing."""
    instruments = list({entry.instrument_id for entry in tape if isinstance(entry, Price)})
    venues = list({entry.venue for entry in tape if isinstance(entry, Close)})
    if not tape:
        return []
    rows = await repository.book(dispatch, feed, instruments, venues)
    book = [_resting(row, seen=await _has_seen(stream, feed, row, after=after)) for row in rows]
    return execute(book, tape)


async def _has_seen(stream: Redis, feed: str, row: asyncpg.Record, *, after: str) -> bool:
    """Whether a price of the instrument lies between the order's arrival and this batch."""
    if stream_key(row["arrived_after"]) >= stream_key(after):
        return False
    if row["order_type"] == OrderType.MARKET:
        return False  # it fills at the first price it meets
    between: list[Entry] = cast(
        list[Entry], await stream.xrange(f"feed:{feed}", min=f"({row['arrived_after']}", max=after, count=_LOOK_BACK)
    )
    wanted = str(row["instrument_id"])
    return len(between) == _LOOK_BACK or any(fields.get("instrument_id") == wanted for _, fields in between)


def _resting(row: asyncpg.Record, *, seen: bool) -> Resting:
    return Resting(
        tenant_id=row["tenant_id"],
        order_id=row["id"],
        account_id=row["account_id"],
        instrument_id=row["instrument_id"],
        venue=row["venue"],
        side=Side(row["side"]),
        order_type=OrderType(row["order_type"]),
        validity=Validity(row["validity"]),
        limit_price=row["limit_price"],
        remaining=row["remaining"],
        tick=row["tick"],
        slippage_bps=row["slippage_bps"],
        arrived_after=row["arrived_after"],
        seen=seen,
    )
