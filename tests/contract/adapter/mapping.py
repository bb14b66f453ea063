"""Pure: Kite's payloads to our words and back. Times are naive Indian ones, prices JSON numbers read as decimals."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from app.kernel.money import format_scaled, format_trimmed
from app.kernel.orders import OrderType, Product, Side, Validity
from app.trading.brokers.ports import (
    Accepted,
    BrokerOrder,
    Change,
    NoAnswer,
    Outcome,
    Rejected,
    Report,
    SessionExpired,
    Throttled,
    Unknown,
    VenueFill,
    VenuePosition,
    VenueStatus,
)

IST = ZoneInfo("Asia/Kolkata")
THROTTLED_SECONDS = 1.0
_TYPES = {OrderType.MARKET: "MARKET", OrderType.LIMIT: "LIMIT", OrderType.SL: "SL", OrderType.SL_M: "SL-M"}
_VALIDITIES = {Validity.DAY: "DAY", Validity.IOC: "IOC", Validity.TTL: "TTL", Validity.GTC: "GTC"}
_VALIDITY = {name: validity for validity, name in _VALIDITIES.items()}
_STATUS = {
    "COMPLETE": VenueStatus.FILLED,
    "CANCELLED": VenueStatus.CANCELLED,
    "CANCELLED AMO": VenueStatus.CANCELLED,
    "REJECTED": VenueStatus.REJECTED,
    "OPEN": VenueStatus.OPEN,
    "TRIGGER PENDING": VenueStatus.OPEN,
    "AMO REQ RECEIVED": VenueStatus.OPEN,
}
"""Every other status is an interim one: the list is open-ended, and only these three end an order."""

_TRIGGERED = {"TRIGGER PENDING": False, "OPEN": True, "COMPLETE": True}
"""Of a stop: one that ended otherwise may have been set off before, or not."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came over the wire."""

    status: int
    content_type: str
    body: str


def order_form(order: BrokerOrder) -> dict[str, str]:
    """The form of `POST /orders/regular`."""
    form = {
        "exchange": order.venue,
        "tradingsymbol": order.symbol,
        "transaction_type": "BUY" if order.side is Side.BUY else "SELL",
        "order_type": _TYPES[order.order_type],
        "product": "CNC" if order.product is Product.DELIVERY else "MIS",
        "validity": _VALIDITIES[order.validity],
        "quantity": format_scaled(order.quantity, order.qty_exp),
        "tag": order.tag,
    }
    for name, price in (("price", order.limit_price), ("trigger_price", order.trigger_price)):
        if price is not None:
            form[name] = format_trimmed(price, order.price_exp)
    if order.order_type in (OrderType.MARKET, OrderType.SL_M):
        bps = order.market_protection_bps
        form["market_protection"] = "-1" if bps is None else format_trimmed(bps, 2, places=0)
    if order.disclosed_quantity is not None:
        form["disclosed_quantity"] = format_scaled(order.disclosed_quantity, order.qty_exp)
    if order.validity_minutes is not None:
        form["validity_ttl"] = str(order.validity_minutes)
    return form


def change_form(order: BrokerOrder, change: Change) -> dict[str, str]:
    """The form of `PUT /orders/regular/:id`."""
    form = {}
    if change.quantity is not None:
        form["quantity"] = format_scaled(change.quantity, order.qty_exp)
    for name, price in (("price", change.limit_price), ("trigger_price", change.trigger_price)):
        if price is not None:
            form[name] = format_trimmed(price, order.price_exp)
    if change.validity is not None:
        form["validity"] = _VALIDITIES[change.validity]
    return form


def outcome(answer: Answer) -> Outcome:
    """What an answer to a call that changes something says of it. Only a plain refusal is a sure no."""
    found = data(answer)
    if isinstance(found, Mapping) and "order_id" in found:
        return Accepted(str(found["order_id"]))
    if isinstance(found, Rejected | Unknown | Throttled | SessionExpired):
        return found
    return Unknown("the broker's answer names no order")


def data(answer: Answer) -> Any:
    """The envelope's data, or why there is none."""
    try:
        envelope = json.loads(answer.body, parse_float=Decimal) if "json" in answer.content_type else None
    except ValueError:
        envelope = None
    if not isinstance(envelope, dict) or answer.status >= 500:
        return Unknown(f"the broker answered {answer.status} with no word on the order")
    if answer.status < 300 and envelope.get("status") == "success":
        return envelope["data"]
    kind, message = envelope.get("error_type"), str(envelope.get("message", ""))[:200]
    if answer.status == 429:
        return Throttled(THROTTLED_SECONDS)
    if kind == "TokenException":
        return SessionExpired()
    if answer.status < 400 or "timed out" in message.lower():
        return Unknown(message or "the broker's answer says nothing")
    return Rejected(message)


def no_answer(found: Any) -> NoAnswer:
    """What a read without an answer is."""
    if isinstance(found, Unknown | Throttled | SessionExpired):
        return found
    return Unknown(found.reason if isinstance(found, Rejected) else "the broker's answer makes no sense")


def reports(orders: Sequence[Mapping[str, Any]], trades: Sequence[Mapping[str, Any]]) -> list[Report]:
    """The order book with the trades of each order."""
    by_order: defaultdict[str, list[VenueFill]] = defaultdict(list)
    for trade in trades:
        by_order[trade["order_id"]].append(
            VenueFill(
                str(trade["trade_id"]), str(trade["quantity"]), str(trade["average_price"]), at(trade["fill_timestamp"])
            )
        )
    return [_report(order, tuple(by_order[order["order_id"]])) for order in orders]


def _report(order: Mapping[str, Any], fills: tuple[VenueFill, ...]) -> Report:
    return Report(
        tag=order["tag"] or None,
        venue_order_id=order["order_id"],
        status=_STATUS.get(order["status"], VenueStatus.PENDING),
        symbol=order["tradingsymbol"],
        side=Side.BUY if order["transaction_type"] == "BUY" else Side.SELL,
        quantity=str(order["quantity"]),
        filled=str(order["filled_quantity"]),
        fills=fills,
        at=at(order["order_timestamp"]),
        reason=(order.get("status_message") or "")[:200] or None,
        limit_price=_priced(order.get("price")),
        trigger_price=_priced(order.get("trigger_price")),
        validity=_VALIDITY.get(order.get("validity", "")),
        triggered=_TRIGGERED.get(order["status"]) if order.get("trigger_price") else None,
    )


def _priced(price: Decimal | int | None) -> str | None:
    """Kite says 0 where there is none."""
    return str(price) if price else None


def positions(day: Sequence[Mapping[str, Any]]) -> list[VenuePosition]:
    """Symbols that the day moved."""
    moved = [one for one in day if one["quantity"]]
    return [
        VenuePosition(one["tradingsymbol"], str(one["quantity"]))
        for one in sorted(moved, key=lambda x: x["tradingsymbol"])
    ]


def at(text: str) -> datetime:
    """`2026-11-26 09:15:00` in India, as UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=IST).astimezone(UTC)


def update_tag(frame: str | bytes) -> tuple[bool, str | None]:
    """Whether a frame of the socket tells of an order, and its tag."""
    if isinstance(frame, bytes):
        return False, None
    message = json.loads(frame)
    return (True, message["data"].get("tag")) if message.get("type") == "order" else (False, None)
