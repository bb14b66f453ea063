"""Decides how a broker may be called, whoever calls: so many calls at once, so many orders a second, no longer than a
deadline, and not while it fails. Every process guards what it calls itself, but for an account's orders a second: its
lane moves from process to process, so those are counted in the database.

A call that is not made is `Throttled`: its work waits, and nothing is at the broker. One that was made and has not been
answered in time is `Unknown`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import Any, TypeVar

import asyncpg
import structlog

from app.infra.outages import is_outage
from app.infra.telemetry import count_broker_call, set_broker_state
from app.trading.brokers.domain import Admitted, Breaker, Call, Pace, State
from app.trading.brokers.ports import (
    Broker,
    BrokerAccount,
    BrokerOrder,
    Capabilities,
    Change,
    NoAnswer,
    NotFound,
    Outcome,
    Report,
    Throttled,
    Unknown,
    Updates,
    VenuePosition,
)
from app.trading.brokers.repository import take_turn

CALL_SECONDS = 8.0
"""A call's deadline. Kite's own client waits 7 s; a cancel and the question after it fit into one item's time."""

WAIT_SECONDS = 1.0
"""How long a call waits for its turn before its work does."""

TELL_SECONDS = 1.0
"""How long the database may take to tell whose turn it is."""

AT_ONCE: Mapping[Call, int] = {Call.ENTRY: 16, Call.EXIT: 8, Call.CANCEL: 8, Call.QUESTION: 16}
"""Calls of each kind under way to one broker: entries, however many, take no place of an exit or a cancel."""

_KNOWN: dict[str, Capabilities] = {}
"""What the brokers can do that accounts name. Filled at the start: whoever places orders has no broker at hand."""

Answer = TypeVar("Answer")
log = structlog.get_logger(__name__)


def know_brokers(capabilities: Mapping[str, Capabilities]) -> None:
    """These brokers there are, by the name that an account bears. For `bootstrap`, in every process."""
    _KNOWN.clear()
    _KNOWN.update(capabilities)


def hides_quantity(name: str) -> bool:
    """Whether the broker itself shows the market no more than the disclosed part of an order."""
    return name in _KNOWN and _KNOWN[name].native_iceberg


def guarded(brokers: Mapping[str, Broker], pool: asyncpg.Pool) -> dict[str, Broker]:
    """Each broker behind its guard, but those that execute in our own transactions: those cannot be away."""
    return {
        name: broker if broker.capabilities.updates is Updates.NONE else GuardedBroker(name, broker, pool)
        for name, broker in brokers.items()
    }


class GuardedBroker:
    """`Broker` around a broker. Exits are sells, as where an order's turn is decided (`orders_begin`)."""

    def __init__(
        self,
        name: str,
        broker: Broker,
        pool: asyncpg.Pool,
        *,
        at_once: Mapping[Call, int] = AT_ONCE,
        call_seconds: float = CALL_SECONDS,
        wait_seconds: float = WAIT_SECONDS,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._name = name
        self._broker = broker
        self._pool = pool
        self._call_seconds = call_seconds
        self._wait_seconds = wait_seconds
        self._clock = clock
        self._places = {call: asyncio.Semaphore(places) for call, places in at_once.items()}
        self._pace = Pace(broker.capabilities.orders_per_second)
        self._breaker = Breaker()
        set_broker_state(name, self._breaker.state)

    @property
    def capabilities(self) -> Capabilities:
        return self._broker.capabilities

    @property
    def state(self) -> State:
        """Whether the broker is called at all."""
        return self._breaker.state

    async def submit(self, order: BrokerOrder) -> Outcome:
        return await self._call(_sending(order), order.account, self._broker.submit, order)

    async def modify(self, order: BrokerOrder, change: Change) -> Outcome:
        return await self._call(_sending(order), order.account, self._broker.modify, order, change)

    async def cancel(self, order: BrokerOrder) -> Outcome:
        return await self._call(Call.CANCEL, order.account, self._broker.cancel, order)

    async def find(self, order: BrokerOrder) -> Report | NotFound | NoAnswer:
        return await self._call(Call.QUESTION, order.account, self._broker.find, order)

    async def orders(self, account: BrokerAccount) -> Sequence[Report] | NoAnswer:
        return await self._call(Call.QUESTION, account, self._broker.orders, account)

    async def positions(self, account: BrokerAccount) -> Sequence[VenuePosition] | NoAnswer:
        return await self._call(Call.QUESTION, account, self._broker.positions, account)

    def updates(self, account: BrokerAccount) -> AsyncIterator[str | None]:
        """Not guarded: a connection that lasts is no call, and whoever listens waits between two tries."""
        return self._broker.updates(account)

    async def _call(
        self, call: Call, account: BrokerAccount, make: Callable[..., Awaitable[Answer]], *what: Any
    ) -> Answer | Unknown | Throttled:
        began = self._clock()
        if seconds := self._breaker.refuses(call, began):
            return self._throttled(call, seconds)
        place = self._places[call]
        try:
            async with asyncio.timeout(self._wait_seconds):
                await place.acquire()
        except TimeoutError:
            return self._throttled(call, self._wait_seconds)
        try:
            if seconds := await self._turn(call, account, began):
                return self._throttled(call, seconds)
            leave = self._breaker.admit(call, self._clock())
            if not isinstance(leave, Admitted):
                return self._throttled(call, leave)
            return await self._made(call, account, leave, make(*what))
        finally:
            place.release()

    async def _turn(self, call: Call, account: BrokerAccount, began: float) -> float:
        """Waits for the account's pace: 0.0 when it is the call's turn, else the seconds that its work must wait.

        A process that stood still meanwhile may have lost the lane: then it is nobody's turn.
        """
        if call is Call.QUESTION:
            return 0.0
        while wait := await self._wait(call, account):
            if self._clock() + wait - began > self._wait_seconds:
                return wait
            await asyncio.sleep(wait)
        late = self._clock() - began > 2 * self._wait_seconds
        return self._wait_seconds if late else 0.0

    async def _wait(self, call: Call, account: BrokerAccount) -> float:
        """The seconds until it may be the call's turn.

        While nobody can tell whose turn it is, no order and no change is sent; a cancel is, since one call too many
        does less harm than an order that stays.
        """
        try:
            entry = call is Call.ENTRY
            return await take_turn(self._pool, account, self._pace, entry=entry, within=TELL_SECONDS)
        except Exception as error:
            if not (is_outage(error) or isinstance(error, TimeoutError)):
                raise
            return 0.0 if call is Call.CANCEL else self._wait_seconds

    async def _made(
        self, call: Call, account: BrokerAccount, leave: Admitted, answering: Awaitable[Answer]
    ) -> Answer | Unknown:
        answer: Answer | Unknown
        try:
            async with asyncio.timeout(self._call_seconds) as deadline:
                answer = await answering
        except Exception as error:
            self._heard(call, account, leave, failed=True)
            if isinstance(error, TimeoutError) and deadline.expired():
                return Unknown(f"the broker did not answer within {self._call_seconds:g} s")
            raise
        except BaseException:  # whoever asked is gone, and the broker said nothing
            self._breaker.left(leave)
            raise
        failed: bool | None = isinstance(answer, Unknown)
        if failed and call is Call.CANCEL:  # it may only say that the broker hides the order
            failed = None
        self._heard(call, account, leave, failed=failed)
        return answer

    def _heard(self, call: Call, account: BrokerAccount, leave: Admitted, *, failed: bool | None) -> None:
        before = self._breaker.state
        self._breaker.heard(call, leave, account, self._clock(), failed=failed)
        count_broker_call(self._name, call, "failed" if failed else "answered")
        if (state := self._breaker.state) is not before:
            set_broker_state(self._name, state)
            tell = log.info if state is State.CLOSED else log.warning
            tell("broker.state", broker=self._name, state=state.value, before=before.value)

    def _throttled(self, call: Call, seconds: float) -> Throttled:
        count_broker_call(self._name, call, "throttled")
        return Throttled(seconds)


def _sending(order: BrokerOrder) -> Call:
    return Call.EXIT if order.reduces else Call.ENTRY
