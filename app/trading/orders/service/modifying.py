"""Change an order: decided and paid for first, then done here where no broker knows of it, else asked for."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from app.infra.database import Tx
from app.kernel.errors import DomainError, Kind, conflict
from app.kernel.orders import Leg, OrderClass, OrderStatus, Product, Side, Validity
from app.market.instruments.domain import check_quantity
from app.trading.orders.domain import (
    Context,
    OrderKind,
    PlaceOrder,
    Waits,
    check_form,
    decide,
    hold_of,
    kind_of,
    reduces,
    trading_rules,
)
from app.trading.orders.domain.changing import (
    AT_BROKER,
    CHANGEABLE,
    ON_ITS_WAY,
    UNSENT,
    ChangeOrder,
    beside,
    check_changeable,
    hold_left,
    hold_of_whole,
    wants_more,
    without,
)
from app.trading.orders.domain.grouping import check_change, check_change_of_whole
from app.trading.orders.service.changes import told
from app.trading.orders.service.grouping import check_group
from app.trading.orders.service.kinds import kinds, own_parameters
from app.trading.orders.service.placing import gathered
from app.trading.orders.service.reading import children_of, get_order
from app.trading.orders.tables import Order
from app.trading.risk.service import rules

_WORKING = UNSENT | AT_BROKER | ON_ITS_WAY
_TURN = text("SELECT accounts_advance_beside(:account)")
_WAITING = text(
    "SELECT waits_for, trigger_price, trail_by, trail_bps FROM waiting_orders "
    "WHERE tenant_id = :tenant AND id = :order FOR NO KEY UPDATE"
)
_CHANGE_UNSENT = text("SELECT orders_change_unsent(:order, CAST(:change AS jsonb), CAST(:waits AS jsonb))")
_ASK = text("SELECT orders_ask_change(:order, :filled, CAST(:change AS jsonb))")
_WHOLE = text(
    "UPDATE orders SET limit_price = :limit_price, trigger_price = :trigger_price, validity = :validity, "
    "protected_price = :protected_price, parameters = CAST(:parameters AS jsonb), hold_minor = :hold_minor, "
    "updated_at = clock_timestamp() WHERE tenant_id = :tenant AND id = :order"
)


async def order_to_change(tx: Tx, order_id: UUID) -> Order:
    """The order, which nobody else can touch until the transaction ends. Raises `order_not_found`."""
    order = await get_order(tx, order_id)
    await tx.execute(_TURN, {"account": order.account_id})
    await tx.session.refresh(order)
    return order


async def request_change(tx: Tx, order: Order, change: ChangeOrder) -> Order:
    """Change an order: here and at once while no broker knows of it; else by asking the broker, ahead of what waits in
    the account's lane, and until it answers `pending_change` says so. An order that is sent in slices is so at once,
    and each slice that works is changed or asked for by itself.

    What asks for more is decided by every rule and reserved first. Raises what is wrong by form, `nothing_to_change`,
    `order_not_changeable`, `change_pending`, `quantity_filled`, and `change_denied` with what the rules said.
    """
    change = replace(change, parameters=own_parameters(order.order_type, change.parameters))
    if order.leg == Leg.WHOLE:
        return await _change_whole(tx, order, change)
    status, row = OrderStatus(order.status), await _waiting(tx, order)
    before = _command(order, after_market=row is not None and row.waits_for == "open")
    kind = kind_of(before, kinds())
    check_changeable(status, order.pending_change, before, change, kind.at_venue(order.model_dump()))
    check_change(order.leg, change.quantity, has_parent=order.parent_id is not None)
    after = change.applied(before)
    if after.quantity <= order.filled_quantity:
        raise conflict("quantity_filled", "As much as that is filled already; cancel what is left.", param="quantity")
    held = hold_left(order.hold_minor, quantity=order.quantity, filled=order.filled_quantity)
    context = without(await gathered(tx, after), before, filled=order.filled_quantity, held=held)
    moved = after.trigger_price != before.trigger_price
    _check_form(tx, after, context, moved=moved and status is not OrderStatus.WAITING)
    check_quantity(after.quantity, trading_rules(context), qty_exp=context.instrument["qty_exp"])
    await check_group(tx, order, after, context)
    rest = replace(after, quantity=after.quantity - order.filled_quantity)
    hold = hold_of_whole(
        _hold_of_rest(order, rest, context, held, more=wants_more(before, after)),
        quantity=after.quantity,
        filled=order.filled_quantity,
    )
    follows = {
        "hold_minor": hold,
        "protected_price": kind.protected_price(after, context) if moved else order.protected_price,
        "reduces": order.reduces and (after.quantity <= order.quantity or reduces(rest, context)),
    }
    return await _carry_out(tx, order, after, context, follows, row)


async def _change_whole(tx: Tx, order: Order, change: ChangeOrder) -> Order:
    """Decided as one for what is left of its slices, which are all changed or none."""
    check_change_of_whole(order.order_class, change.quantity)
    works = [one for one in await children_of(tx, order.id) if OrderStatus(one.status) in _WORKING]
    hidden = works[1:] if order.order_class == OrderClass.ICEBERG else []  # they wait for the slice that is shown alone
    rows = [None if one in hidden else await _waiting(tx, one) for one in works]
    before = _command(order, after_market=any(row is not None and row.waits_for == "open" for row in rows))
    kind = kind_of(before, kinds())
    for one, pending in ((order, None), *((one, one.pending_change) for one in works)):
        check_changeable(OrderStatus(one.status), pending, before, change, kind.at_venue(one.model_dump()))
    after = change.applied(before)
    left = [one.quantity - one.filled_quantity for one in works]
    held = [hold_left(one.hold_minor, quantity=one.quantity, filled=one.filled_quantity) for one in works]
    rest = replace(before, quantity=sum(left))
    context = without(await gathered(tx, after), rest, filled=0, held=sum(held), orders=len(works))
    moved = after.trigger_price != before.trigger_price
    _check_form(tx, replace(after, quantity=works[0].quantity, disclosed_quantity=None), context, moved=moved)
    holds = _held_by_slices(replace(after, quantity=sum(left)), left, held, context, more=wants_more(before, after))
    gained = 0
    for one, row, remaining, hold_of_rest in zip(works, rows, left, holds, strict=True):
        hold = hold_of_whole(hold_of_rest, quantity=one.quantity, filled=one.quantity - remaining)
        gained += hold - one.hold_minor
        follows = _follows(kind, one, after, context, moved=moved) | {"hold_minor": hold}
        await _carry_out(tx, one, replace(after, quantity=one.quantity), context, follows, row)
    follows = _follows(kind, order, after, context, moved=moved) | {"hold_minor": order.hold_minor + gained}
    if works and "trigger_price" in follows:
        follows["trigger_price"] = works[0].trigger_price
    return await _whole_is_so(tx, order, after, context, follows)


def _follows(kind: OrderKind, order: Order, after: PlaceOrder, context: Context, *, moved: bool) -> dict[str, Any]:
    """What no caller names: the price that protects it, and the trigger of a type that finds its own."""
    found = {"protected_price": kind.protected_price(after, context) if moved else order.protected_price}
    return found if "trigger_price" in kind.needs | kind.takes else found | {"trigger_price": order.trigger_price}


def _held_by_slices(
    rest: PlaceOrder, left: Sequence[int], held: Sequence[int], context: Context, *, more: bool
) -> list[int]:
    """What is left of each slice then holds; `rest`: all of it, `held`: what each holds now. Raises `change_denied`."""
    _decide_rest(rest, context, more=more)
    needs = []
    for quantity, now in zip(left, held, strict=True):
        part = replace(rest, quantity=quantity)
        needs.append(_needs(part, context, now, more=more))
        context = beside(context, part)  # what it closes, the next does not
    if more and sum(needs) > (context.available or 0):  # each is rounded by itself
        raise _denied("the account has less cash than its slices need")
    return needs


async def _whole_is_so(tx: Tx, order: Order, after: PlaceOrder, context: Context, follows: dict[str, Any]) -> Order:
    """The row that stands for the slices says what was asked for; each of them tells what became of it."""
    news = {"validity": after.validity, "parameters": after.parameters}
    columns = {name: getattr(after, name) for name in CHANGEABLE} | news | follows
    parameters = None if after.parameters is None else json.dumps(after.parameters)
    await tx.execute(_WHOLE, columns | {"parameters": parameters, "tenant": tx.tenant_id, "order": order.id})
    _tell(tx, order, columns | {"quantity": order.quantity}, news, context)
    await tx.session.refresh(order)
    return order


async def _carry_out(
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


async def _waiting(tx: Tx, order: Order) -> Any:
    """The row that stands for an order until it is sent, if it has one: it is this transaction's then, so that nothing
    sets the order off meanwhile. Raises `order_not_changeable` for a stop that was set off and is about to be sent."""
    if order.status != OrderStatus.ACCEPTED:
        return None
    row = (await tx.execute(_WAITING, {"tenant": tx.tenant_id, "order": order.id})).one_or_none()
    if row is None and (order.validity == Validity.GTT or not kinds()[order.order_type].sent_at_once):
        raise conflict("order_not_changeable", "The stop was set off and is on its way; change it once it is open.")
    return row


def _check_form(tx: Tx, after: PlaceOrder, context: Context, *, moved: bool) -> None:
    """What is wrong with the changed order by form. A stop that was not moved may have been set off meanwhile."""
    form = context if moved else replace(context, last_price=None)
    check_form(after, form, kinds(), mode=tx.principal.mode if tx.principal else None)


def _hold_of_rest(order: Order, rest: PlaceOrder, context: Context, held: int, *, more: bool) -> int:
    """What remains of a buy then holds; what asks for no more holds no more. An exit that waits for its entry holds
    nothing, and was decided with it. Raises `change_denied`."""
    if order.status == OrderStatus.WAITING:
        return 0
    _decide_rest(rest, context, more=more)
    return _needs(rest, context, held, more=more)


def _decide_rest(rest: PlaceOrder, context: Context, *, more: bool) -> None:
    """What asks for more has to pass as a new order would. Raises `change_denied`."""
    decision = decide(rest, context, kinds(), rules())
    if decision.reasons and more:
        raise _denied("; ".join(f"{one.rule} allows {one.limit}, not {one.value}" for one in decision.reasons))


def _denied(said: str) -> DomainError:
    return DomainError("change_denied", Kind.CONFLICT, f"The order stays as it was: {said}.")


def _needs(rest: PlaceOrder, context: Context, held: int, *, more: bool) -> int:
    """What `rest` of an order holds once it is changed, which holds `held` now."""
    needs = hold_of(rest, context, kinds())
    if needs is None:
        return held
    return needs if more else min(needs, held)


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
    _tell(tx, order, columns, news, context)
    await tx.session.refresh(order)
    return order


def _tell(tx: Tx, order: Order, columns: dict[str, Any], news: dict[str, Any], context: Context) -> None:
    """`order`, not read again yet, is as `columns` say; of `news` only what is otherwise is told."""
    known = {name: None for name, value in news.items() if value == getattr(order, name)}
    scale = {name: context.instrument[name] for name in ("price_exp", "qty_exp")}
    tx.emit("order.modified", order.id, told(columns | known, **scale), account_id=order.account_id)


def _command(order: Order, *, after_market: bool) -> PlaceOrder:
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
