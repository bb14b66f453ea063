"""The steps of a change that an order which is sent as one and an order in slices have in common."""

import json
from dataclasses import asdict, replace
from typing import Any
from uuid import uuid4

from sqlalchemy import text

from app.infra.database import Tx
from app.kernel.errors import DomainError, Kind, conflict
from app.kernel.orders import OrderStatus, Product, Side, Validity
from app.trading.orders.domain import Context, PlaceOrder, Waits, check_form, decide, hold_of, kind_of
from app.trading.orders.domain.changing import CHANGEABLE, UNSENT, against
from app.trading.orders.service.changes import told
from app.trading.orders.service.kinds import kinds
from app.trading.orders.tables import Order
from app.trading.risk.service import rules

_WAITING = text(
    "SELECT waits_for, trigger_price, trail_by, trail_bps FROM waiting_orders "
    "WHERE tenant_id = :tenant AND id = :order FOR NO KEY UPDATE"
)
_CHANGE_UNSENT = text("SELECT orders_change_unsent(:order, CAST(:change AS jsonb), CAST(:waits AS jsonb))")
_ASK = text("SELECT orders_ask_change(:order, :filled, CAST(:change AS jsonb))")


def command_of(order: Order, *, after_market: bool) -> PlaceOrder:
    """What the order asks for now; under an id of its own, since it is decided anew. The trigger of a type that takes
    none is not what was asked for."""
    kind = kinds()[order.order_type]
    return PlaceOrder(
        account_id=order.account_id,
        instrument_id=order.instrument_id,
        side=Side(order.side),
        order_type=order.order_type,
        quantity=order.quantity,
        limit_price=order.limit_price,
        product=Product(order.product),
        validity=Validity(order.validity),
        client_order_id=uuid4().hex,
        deployment_id=order.deployment_id,
        algo_id=order.algo_id,
        trigger_price=order.trigger_price if "trigger_price" in kind.needs else None,
        market_protection_bps=order.market_protection_bps,
        disclosed_quantity=order.disclosed_quantity,
        validity_minutes=order.validity_minutes,
        after_market=after_market,
        parameters=order.parameters,
    )


async def waiting_row(tx: Tx, order: Order) -> Any:
    """The row that stands for an order until it is sent, if it has one: it is this transaction's then, so that nothing
    sets the order off meanwhile. Raises `order_not_changeable` for a stop that was set off and is about to be sent."""
    if order.status != OrderStatus.ACCEPTED:
        return None
    row = (await tx.execute(_WAITING, {"tenant": tx.tenant_id, "order": order.id})).one_or_none()
    if row is None and (order.validity == Validity.GTT or not kinds()[order.order_type].sent_at_once):
        raise conflict("order_not_changeable", "The stop was set off and is on its way; change it once it is open.")
    return row


def check_form_of(tx: Tx, after: PlaceOrder, context: Context, *, moved: bool) -> None:
    """What is wrong with the changed order by form. A stop that was not moved may have been set off meanwhile."""
    form = context if moved else replace(context, last_price=None)
    check_form(after, form, kinds(), mode=tx.principal.mode if tx.principal else None)


def decide_rest(rest: PlaceOrder, context: Context, *, more: bool, moved: bool = False) -> None:
    """What asks for more has to pass as a new order would, and a price that is `moved` the venue's band, whichever way
    it goes. Raises `change_denied`."""
    reasons = against(decide(rest, context, kinds(), rules()).reasons, more=more, moved=moved)
    if reasons:
        raise denied("; ".join(f"{one.rule} allows {one.limit}, not {one.value}" for one in reasons))


def denied(said: str) -> DomainError:
    return DomainError("change_denied", Kind.CONFLICT, f"The order stays as it was: {said}.")


def needed(rest: PlaceOrder, context: Context, held: int, *, more: bool) -> int:
    """What `rest` of an order holds once it is changed, which holds `held` now."""
    needs = hold_of(rest, context, kinds())
    if needs is None:
        return held
    return needs if more else min(needs, held)


async def carry_out(
    tx: Tx, order: Order, after: PlaceOrder, context: Context, follows: dict[str, Any], row: Any
) -> Order:
    """What was decided: here and now, or asked of the broker. `follows`: hold and protection of the changed order."""
    columns = {name: getattr(after, name) for name in CHANGEABLE} | follows
    if OrderStatus(order.status) in UNSENT:
        return await _change_here(tx, order, after, context, columns, row)
    if after.validity != order.validity:
        columns["validity"] = after.validity
    asked = {"order": order.id, "filled": order.filled_quantity, "change": json.dumps(columns)}
    if not (await tx.execute(_ASK, asked)).scalar_one():
        raise conflict("order_not_changeable", "The order has moved on; read it again.")
    tx.wake("execution")
    await tx.session.refresh(order)
    return order


async def _change_here(
    tx: Tx, order: Order, after: PlaceOrder, context: Context, columns: dict[str, Any], row: Any
) -> Order:
    """The order is so from now on. `row`: what it waits for, which follows it."""
    news = {"validity": after.validity, "parameters": after.parameters}
    columns |= news
    waits = None
    if row is not None and row.waits_for == "price":
        now = Waits(row.trigger_price, row.trail_by, row.trail_bps)
        found = kind_of(after, kinds()).waits_changed(now, after, context)
        waits = None if found == now else found
        columns["trigger_price"] = (found or now).trigger_price
    asked = {"order": order.id, "change": json.dumps(columns), "waits": json.dumps(waits and asdict(waits))}
    if not (await tx.execute(_CHANGE_UNSENT, asked)).scalar_one():
        raise conflict("order_not_changeable", "The order has moved on; read it again.")
    tell(tx, order, columns, news, context)
    await tx.session.refresh(order)
    return order


def tell(tx: Tx, order: Order, columns: dict[str, Any], news: dict[str, Any], context: Context) -> None:
    """`order`, not read again yet, is as `columns` say; of `news` only what is otherwise is told."""
    known = {name: None for name, value in news.items() if value == getattr(order, name)}
    scale = {name: context.instrument[name] for name in ("price_exp", "qty_exp")}
    tx.emit("order.modified", order.id, told(columns | known, **scale), account_id=order.account_id)
