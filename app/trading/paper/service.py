"""The paper venue: takes orders into its book, and turns the tape's entries into executions."""

import json
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

import asyncpg
from redis.asyncio import Redis

from app.infra.redis import REDIS_ERRORS
from app.kernel.ids import broker_tag
from app.kernel.money import format_scaled
from app.kernel.orders import OrderType, Side, Validity
from app.trading.brokers.ports import (
    Accepted,
    BrokerAccount,
    BrokerOrder,
    Capabilities,
    Change,
    NotFound,
    Outcome,
    Rejected,
    Report,
    Updates,
    VenueFill,
    VenuePosition,
    VenueStatus,
)
from app.trading.paper.domain import Close, Execution, Price, Resting, execute, stream_key
from app.trading.paper.repository import OUTDATED, advance, checkpoint, resting_in

__all__ = ["OUTDATED", "Entry", "PaperBroker", "advance", "checkpoint", "executions", "parse", "resting_in"]

Entry = tuple[str, Mapping[str, str]]
_LOOK_BACK = 500
"""How far back a price is searched that an order may have seen; what arrived before that has seen one."""


class PaperBroker:
    """`Broker` for paper accounts. Its book is a table: it is always sure, and keeps one order for one id for ever."""

    capabilities = Capabilities(
        order_types=frozenset(OrderType),
        validities=frozenset(Validity),
        modify=True,
        changes_validity=True,
        native_iceberg=False,
        orders_per_second=10_000,
        updates=Updates.NONE,
        sure=True,
    )

    def __init__(self, pool: asyncpg.Pool, stream: Redis) -> None:
        self._pool = pool
        self._stream = stream

    async def submit(self, order: BrokerOrder) -> Outcome:
        """The order rests from behind the stream's last entry: it can meet no price shown before it arrived."""
        resting = _to_rest(order, arrived_after=await self.last_entry(order.feed))
        await self._pool.execute("select paper_accept($1, $2::jsonb)", order.tenant_id, json.dumps(resting))
        return Accepted(order.tag)

    async def modify(self, order: BrokerOrder, change: Change) -> Outcome:
        """The order goes to the end of the line: what was shown before the change does not fill it."""
        after = await self.last_entry(order.feed)
        sql = "select paper_modify($1, $2, $3, $4, $5, $6, $7, $8)"
        what = (change.quantity, change.limit_price, change.trigger_price, change.protected_price, change.validity)
        refused = await self._pool.fetchval(sql, order.tenant_id, order.order_id, *what, after)
        return Accepted(order.tag) if refused is None else Rejected(refused)

    async def cancel(self, order: BrokerOrder) -> Outcome:
        """Nothing more will fill, also of an order that is still under way to the book."""
        gone = {
            "id": str(order.order_id),
            "account_id": str(order.account_id),
            "instrument_id": str(order.instrument_id),
            "side": order.side,
            "quantity": order.quantity,
        }
        await self._pool.execute("select paper_cancel($1, $2::jsonb)", order.tenant_id, json.dumps(gone))
        return Accepted(order.tag)

    async def find(self, order: BrokerOrder) -> Report | NotFound:
        found = await self._reports(order.account, order.order_id)
        return found[0] if found else NotFound()

    async def orders(self, account: BrokerAccount) -> Sequence[Report]:
        """What rests, and what ended in the last day."""
        return await self._reports(account, None)

    async def positions(self, account: BrokerAccount) -> Sequence[VenuePosition]:
        net: defaultdict[str, Decimal] = defaultdict(Decimal)
        for report in await self._reports(account, None):
            net[report.symbol] += report.side.sign * Decimal(report.filled)
        return [VenuePosition(symbol, str(quantity)) for symbol, quantity in sorted(net.items()) if quantity]

    async def updates(self, account: BrokerAccount) -> AsyncIterator[str | None]:
        """None: the matcher records what happens in the transaction in which it happens."""
        del account
        return
        yield

    async def _reports(self, account: BrokerAccount, order_id: UUID | None) -> list[Report]:
        sql = "select * from paper_reports($1, $2, $3)"
        return [_report(row) for row in await self._pool.fetch(sql, account.tenant_id, account.account_id, order_id)]

    async def last_entry(self, feed: str) -> str:
        """The last that the feed has shown: an order that arrives now rests behind it."""
        try:
            last = await self._stream.xrevrange(f"feed:{feed}", count=1)
        except REDIS_ERRORS:
            return "0-0"  # no stream, no price meanwhile: a new one gets greater ids than all before
        return str(last[0][0]) if last else "0-0"


def _to_rest(order: BrokerOrder, *, arrived_after: str) -> dict[str, Any]:
    return {
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
        "trigger_price": order.trigger_price,
        "protected_price": order.protected_price,
        "expires_at": None if order.expires_at is None else order.expires_at.isoformat(),
        "arrived_after": arrived_after,
    }


def _report(row: asyncpg.Record) -> Report:
    quantity = format_scaled(row["quantity"], row["qty_exp"])
    fills: tuple[VenueFill, ...] = ()
    if row["fill"] is not None:
        fill = json.loads(row["fill"])
        price = format_scaled(fill["price"], row["price_exp"])
        fills = (VenueFill(fill["id"], quantity, price, datetime.fromisoformat(fill["at"])),)
    tag = broker_tag(row["id"])
    return Report(
        tag=tag,
        venue_order_id=tag,
        status=VenueStatus(row["status"]),
        symbol=row["symbol"],
        side=Side(row["side"]),
        quantity=quantity,
        filled=quantity if fills else "0",
        fills=fills,
        at=row["at"],
        limit_price=_price(row, "limit_price"),
        trigger_price=_price(row, "trigger_price"),
        validity=None if row["validity"] is None else Validity(row["validity"]),
    )


def _price(row: asyncpg.Record, name: str) -> str | None:
    return None if row[name] is None else format_scaled(row[name], row["price_exp"])


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
    stream: Redis, feed: str, book: Sequence[Mapping[str, Any]], tape: Sequence[Price | Close], *, after: str
) -> list[Execution]:
    """What `tape` does to rows of the book, as JSON has them; `after` is the last entry matched before it."""
    resting = [as_resting(row, seen=await _has_seen(stream, feed, row, after=after)) for row in book]
    return execute(resting, tape)


async def _has_seen(stream: Redis, feed: str, row: Mapping[str, Any], *, after: str) -> bool:
    """Whether a price of the instrument lies between the order's arrival and this batch."""
    if row["triggered_at"] is not None:
        return True
    if stream_key(row["arrived_after"]) >= stream_key(after):
        return False
    if row["order_type"] == OrderType.MARKET:
        return False  # it fills at the first price it meets
    between: list[Entry] = cast(
        list[Entry], await stream.xrange(f"feed:{feed}", min=f"({row['arrived_after']}", max=after, count=_LOOK_BACK)
    )
    wanted = row["instrument_id"]
    return len(between) == _LOOK_BACK or any(fields.get("instrument_id") == wanted for _, fields in between)


def as_resting(row: Mapping[str, Any], *, seen: bool) -> Resting:
    """A row of the book, as JSON has it."""
    expires_at = row["expires_at"]
    return Resting(
        tenant_id=UUID(row["tenant_id"]),
        order_id=UUID(row["id"]),
        account_id=UUID(row["account_id"]),
        instrument_id=UUID(row["instrument_id"]),
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
        trigger_price=row["trigger_price"],
        triggered=row["triggered_at"] is not None,
        protected_price=row["protected_price"],
        expires_at=None if expires_at is None else datetime.fromisoformat(expires_at),
    )
