"""The port `Broker` on a Kite-like API. It lives among the tests until a product needs it (Kite's own comes later)."""

from collections.abc import AsyncIterator, Sequence

from app.kernel.orders import OrderType, Validity
from app.trading.brokers.ports import (
    BrokerAccount,
    BrokerOrder,
    Capabilities,
    Change,
    NoAnswer,
    NotFound,
    Outcome,
    Report,
    SessionExpired,
    Unknown,
    Updates,
    VenuePosition,
)
from tests.contract.adapter import mapping
from tests.contract.adapter.mapping import Answer
from tests.contract.adapter.transport import LiveTransport


class LiveBroker:
    """`Broker` over HTTP. It is never sure: what it does not find may be hidden."""

    capabilities = Capabilities(
        order_types=frozenset(OrderType),
        validities=frozenset({Validity.DAY, Validity.IOC, Validity.TTL}),
        modify=True,
        changes_validity=True,
        native_iceberg=True,
        orders_per_second=10,
        updates=Updates.PUSH,
        sure=False,
    )

    def __init__(self, transport: LiveTransport) -> None:
        self._transport = transport

    async def submit(self, order: BrokerOrder) -> Outcome:
        return await self._change(order.account, "POST", "/orders/regular", mapping.order_form(order))

    async def modify(self, order: BrokerOrder, change: Change) -> Outcome:
        form = mapping.change_form(order, change)
        return await self._named(order, "PUT", form)

    async def cancel(self, order: BrokerOrder) -> Outcome:
        return await self._named(order, "DELETE", None)

    async def find(self, order: BrokerOrder) -> Report | NotFound | NoAnswer:
        """By the whole book: an order asked for by its id is refused in the same words as one that never was."""
        found = await self.orders(order.account)
        if not isinstance(found, Sequence):
            return found
        ours = [report for report in found if report.tag == order.tag]
        named = [report for report in ours if report.venue_order_id == order.venue_order_id]
        return next(iter(named or ours), NotFound())

    async def orders(self, account: BrokerAccount) -> Sequence[Report] | NoAnswer:
        """Orders first: a trade between the two reads is then one too many, never one too few."""
        orders = await self._read(account, "/orders")
        if not isinstance(orders, list):
            return mapping.no_answer(orders)
        trades = await self._read(account, "/trades")
        return mapping.reports(orders, trades) if isinstance(trades, list) else mapping.no_answer(trades)

    async def positions(self, account: BrokerAccount) -> Sequence[VenuePosition] | NoAnswer:
        found = await self._read(account, "/portfolio/positions")
        return mapping.positions(found["day"]) if isinstance(found, dict) else mapping.no_answer(found)

    async def updates(self, account: BrokerAccount) -> AsyncIterator[str | None]:
        async for frame in self._transport.frames(account):
            is_order, tag = mapping.update_tag(frame)
            if is_order:
                yield tag

    async def _named(self, order: BrokerOrder, method: str, form: dict[str, str] | None) -> Outcome:
        """A call that needs the broker's name for the order, which is asked for first when we have none."""
        name = order.venue_order_id
        if name is None:
            found = await self.find(order)
            if isinstance(found, NotFound):
                return Unknown("the broker does not show the order")
            if not isinstance(found, Report):
                return found
            name = found.venue_order_id
        return await self._change(order.account, method, f"/orders/regular/{name}", form)

    async def _change(self, account: BrokerAccount, method: str, path: str, form: dict[str, str] | None) -> Outcome:
        answer = await self._transport.call(account, method, path, form)
        return mapping.outcome(answer) if isinstance(answer, Answer) else answer

    async def _read(self, account: BrokerAccount, path: str) -> object:
        answer = await self._transport.call(account, "GET", path)
        if isinstance(answer, Unknown | SessionExpired):
            return answer
        return mapping.data(answer)
