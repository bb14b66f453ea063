"""Decides what the tape does to orders that wait with us for a price: a touch sends them, a trail moves their trigger.

A trigger follows the market only in the order's favour, and only after the price itself was held against it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from app.engine.fills import triggered
from app.kernel.orders import Side, Validity
from app.trading.orders.domain.kinds import trailed
from app.trading.paper.domain import Close, Price, stream_key


@dataclass(frozen=True, slots=True)
class WaitsForPrice:
    """One accepted order. Entries up to `seen_to` were shown to it."""

    tenant_id: UUID
    order_id: UUID
    account_id: UUID
    instrument_id: UUID
    venue: str
    side: Side
    validity: Validity
    trigger_price: int
    trail_by: int | None
    trail_bps: int | None
    tick: int
    seen_to: str


class Turn(StrEnum):
    """What became of it: its trigger was touched, its session ended, or its trigger moved."""

    SENT = "sent"
    OVER = "over"
    MOVED = "moved"


@dataclass(frozen=True, slots=True)
class Turned:
    """`order` as it is after the entry at `at`; `was`: as it was read. `price`: what touched its trigger."""

    order: WaitsForPrice
    turn: Turn
    at: datetime
    was: WaitsForPrice
    price: int | None = None


_Shown = list[tuple[tuple[int, int], Price | Close]]
"""Entries with the places that they have in the stream, in its order."""


def watch(waiting: Iterable[WaitsForPrice], tape: Iterable[Price | Close]) -> list[Turned]:
    """What `tape` does to each, at most one turn an order: the last. Pure: cut anywhere, it gives the same."""
    entries: _Shown = [(stream_key(entry.stream_id), entry) for entry in tape]
    concern: dict[UUID, _Shown] = {}
    found = []
    for order in waiting:
        if order.instrument_id not in concern:
            concern[order.instrument_id] = [
                (place, entry)
                for place, entry in entries
                if isinstance(entry, Close) or entry.instrument_id == order.instrument_id
            ]
        if turned := _walk(order, concern[order.instrument_id]):
            found.append(turned)
    return found


def _walk(order: WaitsForPrice, shown: _Shown) -> Turned | None:
    """`shown`: prices of its instrument, and ends of sessions."""
    was, last, seen_to = order, None, stream_key(order.seen_to)
    for place, entry in shown:
        if place <= seen_to:
            continue
        if isinstance(entry, Close):
            if order.validity is Validity.DAY and order.venue == entry.venue:
                return Turned(replace(order, seen_to=entry.stream_id), Turn.OVER, entry.at, was)
            continue
        if triggered(side=order.side, trigger_price=order.trigger_price, price=entry.price, gap=False) is not None:
            return Turned(replace(order, seen_to=entry.stream_id), Turn.SENT, entry.at, was, entry.price)
        moved = followed(order, entry.price)
        if moved != order.trigger_price:
            order = replace(order, trigger_price=moved, seen_to=entry.stream_id)
            last = Turned(order, Turn.MOVED, entry.at, was)
    return last


def followed(order: WaitsForPrice, price: int) -> int:
    """The trigger once the market was at `price`: no farther from it than the trail, and never moved away."""
    if order.trail_by is None and order.trail_bps is None:
        return order.trigger_price
    found = trailed(price, order.side, trail_by=order.trail_by, trail_bps=order.trail_bps, tick=order.tick)
    return min(found, order.trigger_price) if order.side is Side.BUY else max(found, order.trigger_price)
