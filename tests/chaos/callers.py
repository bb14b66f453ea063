"""Whoever trades: orders, groups and exits, half of them by the door of HTTP. He repeats each until he is answered.

By the door he names nothing but an `Idempotency-Key`; else he has a client order id of his own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from random import Random
from typing import Any
from uuid import UUID

import httpx
from fastapi import FastAPI

from app.infra.process import App
from app.kernel.errors import DomainError
from app.kernel.ids import decode_id, encode_id
from app.kernel.money import format_trimmed
from app.kernel.orders import Leg, OrderClass, OrderStatus, OrderType, Product, Side, Validity
from app.trading.orders.service import PlaceOrder, place_order, request_cancel
from tests.chaos.faults import Stall, end, overtaken, start
from tests.integration.trading.conftest import PRICE, Venue
from tests.integration.trading.groups import COVER, STOP, STOP_ABOVE, TARGET

TICK = 100
PRICE_EXP = 4
_TERMS: dict[str, Any] = {"product": Product.DELIVERY, "validity": Validity.DAY}
_EXITS = {Leg.TARGET: "take_profit", Leg.STOP: "stop_loss"}
_AGAIN = {"idempotency_in_progress", "temporarily_unavailable", "account_busy"}


@dataclass
class Intent:
    """What a caller wants, and repeats under the same name until he is answered. `key`: he comes by the door."""

    desk: Venue
    command: PlaceOrder
    key: str | None = None
    order_id: UUID | None = None
    denied: bool = False
    cancelling: bool = False
    """He has asked for it to be taken back, and repeats that too until he is answered."""

    cancel_heard: bool = False

    @property
    def writes(self) -> str:
        """The call that stores it."""
        alone = self.command.order_class is OrderClass.SINGLE
        return "orders_write" if alone else "orders_write_group"


@dataclass
class Leaving:
    """Somebody wants everything taken back and every position closed."""

    desk: Venue
    key: str
    heard: bool = False


class Door:
    """The gateway, whose requests work on the database of whatever process it serves. Who calls is known for sure."""

    def __init__(self, gateway: FastAPI, headers: Mapping[UUID, Mapping[str, str]]) -> None:
        self._gateway = gateway
        self._headers = headers
        transport = httpx.ASGITransport(app=gateway, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://gateway")

    def serve(self, app: App, clock: Callable[[], datetime]) -> None:
        state = self._gateway.state
        state.gateway = replace(state.gateway, database=app.database, clock=clock)

    async def post(self, path: str, body: Mapping[str, Any], *, account_id: UUID, key: str) -> Any:
        """What is answered; None: he shall ask again."""
        headers = {**self._headers[account_id], "Idempotency-Key": key}
        answer = await self._client.post(path, json=body, headers=headers)
        said = answer.json()
        if answer.is_success:
            return said
        assert said["code"] in _AGAIN, f"{path}: {answer.text}"
        return None


@dataclass
class Callers:
    """All of one seed."""

    app: App
    desks: list[Venue]
    seed: int
    random: Random
    clock: Callable[[], datetime]
    door: Door
    forgetful: bool = False
    """A flaw: whoever repeats an order gives it a new name."""

    intents: list[Intent] = field(default_factory=list)
    leavings: list[Leaving] = field(default_factory=list)

    async def places(
        self, desk: Venue | None = None, order_class: OrderClass = OrderClass.SINGLE, **terms: Any
    ) -> None:
        await end(start(self._place(self.wants(desk, order_class, **terms))))

    async def groups(self) -> None:
        classes = (OrderClass.BRACKET, OrderClass.BRACKET, OrderClass.OTO, OrderClass.OCO)
        await self.places(order_class=self.random.choice(classes))

    async def insists(self, desk: Venue | None = None) -> None:
        """He is tired of waiting for his answer, and asks again while the first request is still on its way."""
        intent = self.wants(desk, self.random.choice((OrderClass.SINGLE, OrderClass.BRACKET)))
        stall = Stall(intent.writes, after=self.random.random() < 0.5)
        await overtaken(start(self._place(intent), stall), stall, lambda: end(start(self._place(intent))))

    def wants(self, desk: Venue | None, order_class: OrderClass, **terms: Any) -> Intent:
        random = self.random
        desk = desk or random.choice(self.desks)
        drawn = _single(random) if order_class is OrderClass.SINGLE else _group(order_class, random)
        name = f"{self.seed}-{len(self.intents)}"
        command = PlaceOrder(
            account_id=desk.account_id,
            instrument_id=desk.instrument_id,
            client_order_id=name,
            order_class=order_class,
            **{"quantity": random.randint(1, 10), **_TERMS, **drawn, **terms},
        )
        self.intents.append(Intent(desk, command, key=name if random.random() < 0.5 else None))
        return self.intents[-1]

    async def _place(self, intent: Intent) -> None:
        if self.forgetful:
            again = f"{self.seed}-{self.random.random()}"
            intent.command = replace(intent.command, client_order_id=again)
            intent.key = intent.key and again
        if intent.key is not None:
            desk, body = intent.desk, _body(intent.command)
            said = await self.door.post("/v1/orders", body, account_id=desk.account_id, key=intent.key)
            if said is not None:
                order_id, status = decode_id("ord", said["id"]), said["status"]
                assert intent.order_id in (None, order_id), "two orders for one key"
                intent.order_id, intent.denied = order_id, status == OrderStatus.DENIED
            return
        async with self.app.database.tx(intent.desk.tenant_id) as tx:
            placed = await place_order(tx, intent.command, now=self.clock())
        assert intent.order_id in (None, placed.id), "two orders for one client order id"
        intent.order_id, intent.denied = placed.id, placed.status is OrderStatus.DENIED

    async def repeats(self) -> None:
        for intent in self.intents:
            if intent.order_id is None:
                await end(start(self._place(intent)))
            elif intent.cancelling and not intent.cancel_heard:
                await end(start(self._cancel(intent)))
        for leaving in self.leavings:
            if not leaving.heard:
                await end(start(self._leave(leaving)))

    async def cancels(self, chosen: Intent | None = None) -> None:
        placed = [intent for intent in self.intents if intent.order_id and not intent.denied]
        if placed:
            intent = chosen or self.random.choice(placed)
            intent.cancelling = True
            await end(start(self._cancel(intent)))

    async def _cancel(self, intent: Intent) -> None:
        assert intent.order_id is not None
        try:
            async with self.app.database.tx(intent.desk.tenant_id) as tx:
                await request_cancel(tx, intent.order_id, now=self.clock())
        except DomainError as error:
            assert error.code == "order_not_cancellable"
        intent.cancel_heard = True

    async def leaves(self, desk: Venue | None = None) -> None:
        self.leavings.append(Leaving(desk or self.random.choice(self.desks), f"{self.seed}-leave-{len(self.leavings)}"))
        await end(start(self._leave(self.leavings[-1])))

    async def _leave(self, leaving: Leaving) -> None:
        account_id = leaving.desk.account_id
        body = {"account_id": encode_id("acc", account_id)}
        said = await self.door.post("/v1/positions/exit_all", body, account_id=account_id, key=leaving.key)
        leaving.heard = said is not None

    @property
    def left(self) -> set[UUID]:
        """Accounts of which somebody wanted everything taken back."""
        return {leaving.desk.account_id for leaving in self.leavings}

    @property
    def unanswered(self) -> list[Any]:
        waits: list[Any] = [intent for intent in self.intents if intent.order_id is None]
        return waits + [leaving for leaving in self.leavings if not leaving.heard]


def _single(random: Random) -> dict[str, Any]:
    """A third of them intraday, where half sell, short if need be."""
    intraday = random.random() < 0.3
    sells = random.random() < (0.5 if intraday else 0.2)
    limit = None if sells else random.choice((None, PRICE, PRICE - TICK))
    return {
        "product": Product.INTRADAY if intraday else Product.DELIVERY,
        "side": Side.SELL if sells else Side.BUY,
        "order_type": OrderType.MARKET if limit is None else OrderType.LIMIT,
        "limit_price": limit,
    }


def _group(order_class: OrderClass, random: Random) -> dict[str, Any]:
    ways: dict[str, Any]
    if order_class is OrderClass.OCO:
        ways = {"side": Side.SELL, "limit_price": TARGET.limit_price, "exits": (STOP,)}
    elif random.random() < 0.3:
        exits = (COVER, STOP_ABOVE) if order_class is OrderClass.BRACKET else (random.choice((COVER, STOP_ABOVE)),)
        limit_price = random.choice((PRICE, PRICE + TICK))
        ways = {"product": Product.INTRADAY, "side": Side.SELL, "limit_price": limit_price, "exits": exits}
    else:
        exits = (TARGET, STOP) if order_class is OrderClass.BRACKET else (random.choice((TARGET, STOP)),)
        ways = {"side": Side.BUY, "limit_price": random.choice((PRICE, PRICE - TICK)), "exits": exits}
    return {"order_type": OrderType.LIMIT, **ways}


def _body(command: PlaceOrder) -> dict[str, Any]:
    """What `POST /v1/orders` takes for it."""
    body: dict[str, Any] = {
        "account_id": encode_id("acc", command.account_id),
        "instrument_id": encode_id("ins", command.instrument_id),
        "quantity": str(command.quantity),
    }
    body |= {name: getattr(command, name) for name in ("side", "order_type", "product", "validity", "order_class")}
    if command.limit_price is not None:
        body["limit_price"] = format_trimmed(command.limit_price, PRICE_EXP)
    for way in command.exits:
        prices = {name: getattr(way, name) for name in ("limit_price", "trigger_price")}
        body[_EXITS[way.leg]] = {
            name: format_trimmed(price, PRICE_EXP) for name, price in prices.items() if price is not None
        }
    return body
