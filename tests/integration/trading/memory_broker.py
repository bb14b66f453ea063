"""A live broker in memory: it takes orders, changes and cancels, and trades when the test says so."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

from app.kernel.money import format_scaled
from app.kernel.orders import OrderType, Validity
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
    VenueStatus,
)
from tests.integration.trading.conftest import AT

ABLE = Capabilities(
    order_types=frozenset(OrderType),
    validities=frozenset(Validity),
    modify=True,
    changes_validity=False,
    native_iceberg=False,
    orders_per_second=10,
    updates=Updates.POLL,
    sure=False,
)


@dataclass
class There:
    """An order as the broker has it."""

    order: BrokerOrder
    quantity: int
    status: VenueStatus = VenueStatus.OPEN
    fills: list[VenueFill] = field(default_factory=list)

    @property
    def filled(self) -> int:
        return sum(int(fill.quantity) for fill in self.fills)

    def report(self) -> Report:
        exponent = self.order.qty_exp
        return Report(
            tag=self.order.tag,
            venue_order_id=self.order.tag,
            status=self.status,
            symbol=self.order.symbol,
            side=self.order.side,
            quantity=format_scaled(self.quantity, exponent),
            filled=format_scaled(self.filled, exponent),
            fills=tuple(self.fills),
            at=AT,
        )


@dataclass
class MemoryBroker:
    """Whole units only. `asked` names the calls that change something."""

    modify_works: bool = True
    validities: frozenset[Validity] = frozenset(Validity)
    book: dict[str, There] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @property
    def capabilities(self) -> Capabilities:
        return replace(ABLE, modify=self.modify_works, validities=self.validities)

    @property
    def resting(self) -> list[There]:
        return [there for there in self.book.values() if there.status is VenueStatus.OPEN]

    def trade(self, tag: str, quantity: int, price: str = "20.00") -> None:
        there = self.book[tag]
        there.fills.append(VenueFill(f"{tag}-{len(there.fills)}", str(quantity), price, AT))
        if there.filled == there.quantity:
            there.status = VenueStatus.FILLED

    async def submit(self, order: BrokerOrder) -> Outcome:
        assert order.tag not in self.book, "sent twice"
        self.asked.append("submit")
        self.book[order.tag] = There(order, order.quantity)
        return Accepted(order.tag)

    async def modify(self, order: BrokerOrder, change: Change) -> Outcome:
        self.asked.append("modify")
        there, wanted = self.book[order.tag], change.quantity
        if there.status is not VenueStatus.OPEN or wanted is None or wanted <= there.filled:
            return Rejected("it cannot be changed so")
        there.quantity = wanted
        return Accepted(order.tag)

    async def cancel(self, order: BrokerOrder) -> Outcome:
        self.asked.append("cancel")
        there = self.book.get(order.tag)
        if there is None or there.status is not VenueStatus.OPEN:
            return Rejected("it does not rest")
        there.status = VenueStatus.CANCELLED
        return Accepted(order.tag)

    async def find(self, order: BrokerOrder) -> Report | NotFound:
        return self.book[order.tag].report() if order.tag in self.book else NotFound()

    async def orders(self, account: BrokerAccount) -> Sequence[Report]:
        return [there.report() for there in self.book.values()]

    async def positions(self, account: BrokerAccount) -> Sequence[object]:
        return []

    async def updates(self, account: BrokerAccount) -> AsyncIterator[str | None]:
        return
        yield
