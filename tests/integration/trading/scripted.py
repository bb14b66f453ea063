"""A broker that is a script: its answers are the test's."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.infra.work.runner import Item, Retry
from app.kernel.errors import DomainError
from app.kernel.ids import broker_tag
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
    Throttled,
    Unknown,
    Updates,
    VenueFill,
    VenueStatus,
)
from app.trading.orders.service import ChangeOrder, order_to_change, request_change
from app.trading.orders.service.asking import modify
from app.trading.orders.service.executing import resolve_unknown, submit
from app.trading.orders.service.reconciling import Book, read_book
from tests.integration.trading.conftest import AT, PRICE, Venue

Answer = Outcome | Report | NotFound | Exception | Sequence[Report]

_CAPABILITIES = Capabilities(
    order_types=frozenset(OrderType),
    validities=frozenset(Validity),
    modify=False,
    changes_validity=False,
    native_iceberg=False,
    orders_per_second=10,
    updates=Updates.POLL,
    sure=False,
)


@dataclass
class Scripted:
    """Answers each call with the next of `answers`, an exception by raising it; remembers what it was asked."""

    answers: list[Answer]
    asked: list[str] = field(default_factory=list)
    capabilities: Capabilities = _CAPABILITIES

    async def submit(self, order: BrokerOrder) -> Any:
        return self._answer("submit")

    async def modify(self, order: BrokerOrder, change: Change) -> Any:
        return self._answer("modify")

    async def cancel(self, order: BrokerOrder) -> Any:
        return self._answer("cancel")

    async def find(self, order: BrokerOrder) -> Any:
        return self._answer("find")

    async def orders(self, account: BrokerAccount) -> Any:
        return self._answer("orders")

    async def positions(self, account: BrokerAccount) -> Any:
        return self._answer("positions")

    async def updates(self, account: BrokerAccount) -> AsyncIterator[str | None]:
        return
        yield

    def _answer(self, call: str) -> Any:
        self.asked.append(call)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def item(venue: Venue, order_id: UUID, kind: str = "order.submit") -> Item:
    return Item(venue.tenant_id, uuid4(), venue.account_id, kind, {"order_id": str(order_id)}, attempts=1, fence=1)


def report(order_id: UUID, status: VenueStatus, *fills: int, filled: int | None = None) -> Report:
    """What a broker says of an order for 10."""
    made = tuple(VenueFill(f"F{n}", str(quantity), "20.00", AT) for n, quantity in enumerate(fills))
    told = sum(fills) if filled is None else filled
    return Report(broker_tag(order_id), "V1", status, "AAPL", Side.BUY, "10", str(told), made, at=AT)


async def sent(venue: Venue, *answers: Answer) -> tuple[UUID, Scripted]:
    """A limit order, sent to a broker that answers so."""
    placed = await venue.order(order_type=OrderType.LIMIT, limit_price=PRICE)
    script = Scripted(list(answers))
    await submit(venue.desk(script), item(venue, placed.id))
    return placed.id, script


async def held(venue: Venue) -> int:
    return int(
        (await venue.rows("select sum(pending_out)::bigint as held from ledger_accounts where kind = 'client_cash'"))[
            0
        ]["held"]
    )


async def told(venue: Venue, order_id: UUID) -> list[str]:
    rows = await venue.rows("select type from events where subject_id = :id order by xid, id", id=order_id)
    return [row["type"].removeprefix("order.") for row in rows]


def later(live: Venue, script: Scripted, seconds: float) -> Any:
    return replace(live.desk(script), clock=lambda: datetime.now(UTC) + timedelta(seconds=seconds))


async def begun(venue: Venue, order_id: UUID) -> None:
    await venue.app.database.pool.fetchval("select orders_begin($1, $2, $3)", venue.tenant_id, order_id, 1)


async def lost(venue: Venue) -> tuple[UUID, Scripted]:
    order_id, script = await sent(venue, Unknown("?"))
    await resolve_unknown(later(venue, Scripted([NotFound()]), 181), item(venue, order_id, "order.resolve"))
    return order_id, script


async def change(venue: Venue, order_id: UUID, **changes: Any) -> None:
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await request_change(tx, await order_to_change(tx, order_id), ChangeOrder(**changes))


async def change_refused(venue: Venue, order_id: UUID, **changes: Any) -> tuple[str, str | None]:
    """The code and the field that the refusal names."""
    with pytest.raises(DomainError) as caught:
        await change(venue, order_id, **changes)
    return caught.value.code, caught.value.param


async def changed_and_not(venue: Venue, order_id: UUID) -> None:
    """An order for 10 that works there is changed to 11; another change is refused."""
    outcomes: list[list[Answer]] = [[Accepted("V1")], [Rejected("not now"), report(order_id, VenueStatus.OPEN)]]
    for quantity, answers in zip((11, 12), outcomes, strict=True):
        await change(venue, order_id, quantity=quantity)
        script = Scripted(answers, capabilities=replace(_CAPABILITIES, modify=True))
        await modify(venue.desk(script), item(venue, order_id, "order.modify"))


async def resting(venue: Venue, order_id: UUID) -> str:
    """The row that a submission brings to the paper venue."""
    return json.dumps(
        {
            "id": str(order_id),
            "account_id": str(venue.account_id),
            "feed": venue.feed,
            "instrument_id": str(venue.instrument_id),
            "venue": "XNAS",
            "side": "buy",
            "order_type": "market",
            "validity": "day",
            "limit_price": None,
            "remaining": 10,
            "tick": 100,
            "slippage_bps": 0,
            "arrived_after": "0-0",
        }
    )


async def troubled(venue: Venue) -> None:
    """What only a live broker brings about: too many calls, an order that it does not show, one that is not ours."""
    tired, hidden = [await venue.order(order_type=OrderType.LIMIT, limit_price=PRICE) for _ in range(2)]
    with pytest.raises(Retry):
        await submit(venue.desk(Scripted([Throttled(1.0)])), item(venue, tired.id))
    script = Scripted([Unknown("no answer"), NotFound()])
    await submit(venue.desk(script), item(venue, hidden.id))
    await resolve_unknown(replace(venue.desk(script), deadline=timedelta(0)), item(venue, hidden.id))
    there = report(hidden.id, VenueStatus.OPEN)
    script = Scripted([[replace(there, tag=None, venue_order_id="S1"), there]])
    account = BrokerAccount(venue.tenant_id, venue.account_id)
    assert await read_book(venue.desk(script), Book(account, script), differences=True) is None
