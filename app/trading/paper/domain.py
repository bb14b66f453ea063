"""Decides what the tape does to the paper venue's book: fills by the engine's rule, expiries at the session's end."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.engine.fills import SlippageModel, match
from app.kernel.orders import OrderType, Side, Validity


def stream_key(stream_id: str) -> tuple[int, int]:
    """A Redis stream id as a pair that compares as the stream orders."""
    milliseconds, _, sequence = stream_id.partition("-")
    return int(milliseconds), int(sequence or 0)


@dataclass(frozen=True, slots=True)
class Resting:
    """One order of the book. `seen`: a price of its instrument came after it arrived and before this batch."""

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


@dataclass(frozen=True, slots=True)
class Execution:
    """What happened to a resting order: a fill of `quantity` at `price`, or (price None) its expiry."""

    order: Resting
    stream_id: str
    quantity: int
    price: int | None
    at: datetime


def execute(book: Iterable[Resting], tape: Iterable[Price | Close]) -> list[Execution]:
    """The executions of `tape` on `book`, in tape order, then arrival order. Pure: the same input, the same fills.

    An order meets only entries behind `arrived_after`. A DAY order expires at its venue's next session end.
    """
    resting = {order.order_id: order for order in sorted(book, key=lambda o: (stream_key(o.arrived_after), o.order_id))}
    seen = {order_id for order_id, order in resting.items() if order.seen}
    done: list[Execution] = []
    for entry in tape:
        place = stream_key(entry.stream_id)
        for order in list(resting.values()):
            if stream_key(order.arrived_after) >= place:
                continue
            if isinstance(entry, Close):
                if order.validity is Validity.DAY and order.venue == entry.venue:
                    done.append(Execution(order, entry.stream_id, order.remaining, None, entry.at))
                    del resting[order.order_id]
            elif order.instrument_id == entry.instrument_id:
                filled = _match(order, entry, fresh=order.order_id not in seen)
                seen.add(order.order_id)
                if filled is not None:
                    done.append(Execution(order, entry.stream_id, filled[1], filled[0], entry.at))
                    del resting[order.order_id]
    return done


def _match(order: Resting, entry: Price, *, fresh: bool) -> tuple[int, int] | None:
    return match(
        side=order.side,
        order_type=order.order_type,
        limit_price=order.limit_price,
        remaining=order.remaining,
        price=entry.price,
        volume=entry.volume,
        first=entry.first,
        first_after_arrival=fresh,
        tick=order.tick,
        slippage=SlippageModel(order.slippage_bps),
    )
