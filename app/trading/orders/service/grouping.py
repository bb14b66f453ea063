"""Decides what rows an order is stored as that is not sent as one, and how an exit is brought down at its broker."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

import asyncpg

from app.infra.database import Tx
from app.kernel.errors import DomainError, invalid
from app.kernel.ids import broker_tag, encode_id
from app.kernel.orders import Leg, OrderClass, OrderStatus, Side, Validity
from app.trading.orders.domain import ENTERS, Context, Exit, PlaceOrder, holds, parts
from app.trading.orders.domain.exits import check_changed, exit_side
from app.trading.orders.service.kinds import kinds
from app.trading.orders.service.reading import children_of as children_rows
from app.trading.orders.service.reading import get_order
from app.trading.orders.tables import Order

_CANCEL_FAMILY = "select orders_cancel_family($1, $2)"

_ALONE: dict[str, Any] = {
    "order_class": OrderClass.SINGLE,
    "leg": None,
    "parent_id": None,
    "pair_id": None,
    "pair_quantity": None,
    "counted": True,
}


def grouped(order_id: UUID, command: PlaceOrder, context: Context) -> dict[str, Any]:
    """The columns that say what the order itself is in its group."""
    if len(parts(command, context)) > 1:
        alone = OrderClass.SLICED if command.disclosed_quantity is None else OrderClass.ICEBERG
        order_class = alone if command.order_class is OrderClass.SINGLE else command.order_class
        return _ALONE | {"order_class": order_class, "leg": Leg.WHOLE, "counted": False}
    if command.order_class in ENTERS:
        return _ALONE | {"order_class": command.order_class, "leg": Leg.ENTRY}
    if command.order_class is OrderClass.OCO:
        pair = {"pair_id": order_id, "pair_quantity": command.quantity}
        return _ALONE | {"order_class": OrderClass.OCO, "leg": Leg.TARGET, **pair}
    return _ALONE


def children_of(order: Mapping[str, Any], command: PlaceOrder, context: Context) -> list[dict[str, Any]]:
    """The rows of an accepted order's children; their ids follow the parent's, and so sort in their own order: a parent
    before its own children."""
    if order["leg"] is None:
        return []
    if order["leg"] is not Leg.WHOLE:
        return _exits(order, command, context, pair_id=order["pair_id"] or UUID(int=order["id"].int + 1))
    children: list[dict[str, Any]] = []
    for number, (quantity, hold) in enumerate(
        zip(parts(command, context), holds(command, context, kinds()), strict=True), start=1
    ):
        part = replace(command, quantity=quantity)
        children += _part(order, part, context, hold, number=number, place=len(children) + 1)
    return children


def _part(
    order: Mapping[str, Any], part: PlaceOrder, context: Context, hold: int, *, number: int, place: int
) -> list[dict[str, Any]]:
    """One of the orders that a whole is sent as, with the exits of its own: none is larger than it."""
    leg = Leg.ENTRY if part.order_class in ENTERS else Leg.TARGET if part.order_class is OrderClass.OCO else Leg.SLICE
    columns = {"leg": leg, "quantity": part.quantity, "hold_minor": hold, "disclosed_quantity": None}
    child = _child(order, place, f"{leg}.{number}", **columns)
    if leg is Leg.ENTRY:
        return [child, *_exits(child, part, context, pair_id=UUID(int=child["id"].int + 1))]
    if leg is Leg.TARGET:
        child |= {"pair_id": child["id"], "pair_quantity": part.quantity}
        return [child, *_exits(order, part, context, pair_id=child["id"], number=number, place=place + 1)]
    return [child]


def _exits(
    order: Mapping[str, Any], command: PlaceOrder, context: Context, *, pair_id: UUID, number: int = 1, place: int = 1
) -> list[dict[str, Any]]:
    """They wait for the entry's fills; the stop of a position that is there already goes at once. Of a pair the target
    is counted."""
    counted = command.exits[0].leg
    return [
        _child(
            order,
            at,
            f"{way.leg}.{number}",
            leg=way.leg,
            quantity=command.quantity,
            hold_minor=0,
            reduces=True,
            status=OrderStatus.WAITING if command.order_class in ENTERS else OrderStatus.ACCEPTED,
            pair_id=pair_id,
            pair_quantity=command.quantity,
            **_terms(way, command, context),
        )
        | {"counted": command.order_class in ENTERS and way.leg is counted}
        for at, way in enumerate(command.exits, start=place)
    ]


def _terms(way: Exit, command: PlaceOrder, context: Context) -> dict[str, Any]:
    """How an exit trades: what its order type makes of its prices, for as long as the order itself."""
    terms: dict[str, Any] = {
        "side": exit_side(command),
        "order_type": way.order_type,
        "limit_price": way.limit_price,
        "trigger_price": way.trigger_price,
        "disclosed_quantity": None,
        "parameters": None,
    }
    asked, kind = replace(command, **terms, market_protection_bps=None), kinds()[way.order_type]
    return terms | {
        "market_protection_bps": kind.protection_bps(asked, context),
        "protected_price": kind.protected_price(asked, context),
    }


def _child(parent: Mapping[str, Any], place: int, name: str, **columns: Any) -> dict[str, Any]:
    child_id = UUID(int=parent["id"].int + place)
    return {
        **parent,
        "id": child_id,
        "parent_id": parent["id"],
        "client_order_id": f"{encode_id('ord', parent['id'])}.{name}",
        "broker_tag": broker_tag(child_id),
        "counted": True,
        **columns,
    }


async def check_group(tx: Tx, order: Order, after: PlaceOrder, context: Context) -> None:
    """Whether an entry and the exits that wait for it still go together, once `order`, one of them, is `after`. Raises
    what placing them so would raise, by the field that is changed."""
    if order.leg != Leg.ENTRY and order.status != OrderStatus.WAITING:
        return
    entry = order if order.leg == Leg.ENTRY else await get_order(tx, order.parent_id or order.id)
    waiting = [child for child in await children_rows(tx, entry.id) if child.status == OrderStatus.WAITING]
    prices = {child.id: (child.limit_price, child.trigger_price) for child in (entry, *waiting)}
    prices[order.id] = after.limit_price, after.trigger_price
    command = replace(
        after,
        order_class=OrderClass(entry.order_class),
        side=Side(entry.side),
        order_type=entry.order_type,
        limit_price=prices[entry.id][0],
        validity=after.validity if entry is order else Validity(entry.validity),
        exits=tuple(Exit(Leg(child.leg or ""), *prices[child.id]) for child in waiting),
    )
    last = None if entry is order else context.last_price  # of an entry only that it fits the exits it has
    try:
        check_changed(command, last, price_exp=context.instrument["price_exp"])
    except DomainError as error:
        group, _, field = (error.param or "").rpartition(".")
        raise invalid(error.code, error.message, param="limit_price" if group and entry is order else field) from None


async def cancel_family(pool: asyncpg.Pool, tenant_id: UUID, order: Mapping[str, Any]) -> bool:
    """Ask for what the order stands for to be taken back. True when that is all there is: no broker has a whole."""
    if order["leg"] in (Leg.WHOLE, Leg.TARGET) and order["parent_id"] is None:
        await pool.execute(_CANCEL_FAMILY, tenant_id, UUID(order["id"]))
    return bool(order["leg"] == Leg.WHOLE)
