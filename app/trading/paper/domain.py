"""Decides what the tape does to the paper venue's book: fills by the engine's rule, and how the rest of it ends."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from app.engine.fills import SlippageModel, match, triggered
from app.kernel.orders import OrderType, Side, Validity


def stream_key(stream_id: str) -> tuple[int, int]:
    """A Redis stream id as a pair that compares as the stream orders."""
    milliseconds, _, sequence = stream_id.partition("-")
    return int(milliseconds), int(sequence or 0)


@dataclass(frozen=True, slots=True)
class Resting:
    """One order of the book. `seen`: a price of its instrument came after it arrived and before this batch.

    `triggered`: a stop that was set off, and rests by its limit now.
    """

    tenant_id: UUID
    order_id: UUID
    account_id: UUID
    instrument_id: UUID
    venue: str
    side: Side
    order_type: OrderType
    validity: Validity
    limit_price: int | None
    remaining: int
    tick: int
    slippage_bps: int
    arrived_after: str
    seen: bool
    trigger_price: int | None = None
    triggered: bool = False
    protected_price: int | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """A price on the tape. `first`: a bar's opening price."""

    stream_id: str
    instrument_id: UUID
    price: int
    volume: int
    first: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class Close:
    """A venue's session has ended."""

    stream_id: str
    venue: str
    at: datetime


class Happening(StrEnum):
    """What became of an order of the book."""

    FILLED = "filled"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    TRIGGERED = "triggered"


@dataclass(frozen=True, slots=True)
class Execution:
    """What happened to a resting order: a fill of `quantity` at `price`, or (price None) what `happening` says, and
    why. `set_off_by`: the price that set off the stop with it."""

    order: Resting
    stream_id: str
    quantity: int
    price: int | None
    at: datetime
    happening: Happening = Happening.FILLED
    reason: str = ""
    set_off_by: int | None = None


_SESSIONS = frozenset({Validity.DAY, Validity.IOC, Validity.TTL})
"""What does not outlive its session."""


def execute(book: Collection[Resting], tape: Iterable[Price | Close]) -> list[Execution]:
    """The executions of `tape` on `book`, in tape order, then arrival order. Pure: the same input, the same fills.

    An order meets only entries behind `arrived_after`. A DAY order expires at its venue's next session end, a TTL order
    at the first price from `expires_at` on; an IOC order lives for one price.
    """
    arrived = {order.order_id: stream_key(order.arrived_after) for order in book}
    resting = {order.order_id: order for order in sorted(book, key=lambda o: (arrived[o.order_id], o.order_id))}
    of_instrument: defaultdict[UUID, dict[UUID, None]] = defaultdict(dict)  # in the order of their arrival, too
    for order in resting.values():
        of_instrument[order.instrument_id][order.order_id] = None
    seen = {order_id for order_id, order in resting.items() if order.seen}
    done: list[Execution] = []
    for entry in tape:
        place = stream_key(entry.stream_id)
        for order_id in list(resting if isinstance(entry, Close) else of_instrument[entry.instrument_id]):
            if arrived[order_id] >= place:
                break  # those behind it arrived no earlier
            order = resting[order_id]
            if isinstance(entry, Close):
                happened = _close(order, entry)
            else:
                happened = _meet(order, entry, fresh=order_id not in seen)
                seen.add(order_id)
            if happened is None:
                continue
            done.append(happened)
            if happened.happening is Happening.TRIGGERED:
                resting[order_id] = replace(order, triggered=True)
            else:
                del resting[order_id], of_instrument[order.instrument_id][order_id]
    return done


def _close(order: Resting, close: Close) -> Execution | None:
    if order.validity not in _SESSIONS or order.venue != close.venue:
        return None
    return _ends(order, close, Happening.EXPIRED, "the session ended")


def _meet(order: Resting, entry: Price, *, fresh: bool) -> Execution | None:
    """What one price does to the order. Its time comes first."""
    if order.expires_at is not None and entry.at >= order.expires_at:
        return _ends(order, entry, Happening.EXPIRED, "its time was over")
    if order.trigger_price is not None and not order.triggered:
        happened = _set_off(order, entry, order.trigger_price, fresh=fresh)
        return happened and replace(happened, set_off_by=entry.price)
    filled = match(
        side=order.side,
        order_type=OrderType.MARKET if order.order_type is OrderType.MARKET else OrderType.LIMIT,
        limit_price=order.limit_price,
        remaining=order.remaining,
        price=entry.price,
        volume=entry.volume,
        first=entry.first,
        first_after_arrival=fresh,
        tick=order.tick,
        slippage=SlippageModel(order.slippage_bps),
    )
    if filled is not None and order.order_type is OrderType.MARKET:
        return _protected(order, entry, reached=entry.price, paid=filled[0])
    if filled is not None:
        return _fills(order, entry, filled[0])
    if order.validity is Validity.IOC:
        return _ends(order, entry, Happening.CANCELLED, "it could not be filled at once")
    return None


def _set_off(order: Resting, entry: Price, trigger_price: int, *, fresh: bool) -> Execution | None:
    """A stop that this price sets off trades, or rests by its limit where it would trade beyond that."""
    gap = entry.first or fresh
    paid = triggered(
        side=order.side,
        trigger_price=trigger_price,
        price=entry.price,
        gap=gap,
        tick=order.tick,
        slippage=SlippageModel(order.slippage_bps),
    )
    if paid is None:
        return None
    if order.limit_price is None:
        return _protected(order, entry, reached=entry.price if gap else trigger_price, paid=paid)
    if _worse(order, paid, order.limit_price):
        return _ends(order, entry, Happening.TRIGGERED, "its trigger was touched")
    return _fills(order, entry, paid)


def _protected(order: Resting, entry: Price, *, reached: int, paid: int) -> Execution:
    """A market order whose market has come to `reached`: with slippage it would pay `paid`, but never beyond its
    protection."""
    bound = order.protected_price
    if bound is None or not _worse(order, paid, bound):
        return _fills(order, entry, paid)
    if _worse(order, reached, bound):
        return _ends(order, entry, Happening.CANCELLED, "the market was beyond its protection")
    return _fills(order, entry, bound)


def _worse(order: Resting, price: int, than: int) -> bool:
    return (price - than) * order.side.sign > 0


def _fills(order: Resting, entry: Price, price: int) -> Execution:
    return Execution(order, entry.stream_id, order.remaining, price, entry.at)


def _ends(order: Resting, entry: Price | Close, happening: Happening, reason: str) -> Execution:
    return Execution(order, entry.stream_id, order.remaining, None, entry.at, happening, reason)
