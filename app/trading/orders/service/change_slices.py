"""Change an order that is sent in slices: decided as one for what is left of them, which are all changed or none."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import text

from app.infra.database import Tx
from app.kernel.errors import conflict, invalid
from app.kernel.instrument import TradingRules
from app.kernel.orders import OrderClass, OrderStatus
from app.market.instruments.domain import check_quantity
from app.trading.orders.domain import Context, OrderKind, PlaceOrder, kind_of, reduces, trading_rules
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
    moves_price,
    wants_more,
    without,
)
from app.trading.orders.domain.grouping import check_change_of_whole, cut_anew
from app.trading.orders.service.change_steps import (
    carry_out,
    check_form_of,
    command_of,
    decide_rest,
    denied,
    needed,
    tell,
    waiting_row,
)
from app.trading.orders.service.grouping import check_group
from app.trading.orders.service.kinds import kinds
from app.trading.orders.service.placing import gathered
from app.trading.orders.service.reading import children_of
from app.trading.orders.tables import Order

_WORKING = UNSENT | AT_BROKER | ON_ITS_WAY
_CANCEL_ASKED = text("SELECT orders_cancel_asked(:tenant, :slice)")
_TAKE_OFF = text("SELECT orders_take_off(:slice)")
_ADD = text("SELECT orders_add_slices(:order, :quantities, :holds, :reduces)")
_SUM_UP = text("SELECT orders_sum_up(:order)")
_WHOLE = text(
    "UPDATE orders SET limit_price = :limit_price, trigger_price = :trigger_price, validity = :validity, "
    "protected_price = :protected_price, parameters = CAST(:parameters AS jsonb), hold_minor = :hold_minor, "
    "updated_at = clock_timestamp() WHERE tenant_id = :tenant AND id = :order"
)


@dataclass(slots=True)
class _Part:
    """A slice that works. `row`: what it waits for; `left` is left of it, `wanted` is to be, and it holds `held`."""

    order: Order
    row: Any
    left: int
    held: int
    wanted: int


async def change_whole(tx: Tx, order: Order, change: ChangeOrder) -> Order:
    """What `request_change` says of an order that is sent in slices. Another quantity is met by the last slices that
    work and by new ones; the order's own follows once their brokers have answered."""
    check_change_of_whole(order.order_class, grows=(change.quantity or 0) > order.quantity)
    slices = await children_of(tx, order.id)
    parts = await _working(tx, order, slices)
    before = command_of(order, after_market=any(it.row is not None and it.row.waits_for == "open" for it in parts))
    kind = kind_of(before, kinds())
    for one, pending in ((order, None), *((it.order, it.order.pending_change) for it in parts)):
        check_changeable(OrderStatus(one.status), pending, before, change, kind.at_venue(one.model_dump()))
    after = change.applied(before)
    found = await gathered(tx, after)
    more: Sequence[int] = ()
    if after.quantity != before.quantity:
        more = await _cut_anew(tx, order, after, slices, parts, found)
    context = _without(found, before, parts)
    moved = after.trigger_price != before.trigger_price
    check_form_of(tx, replace(after, quantity=parts[0].order.quantity, disclosed_quantity=None), context, moved=moved)
    for it in parts:
        await check_group(tx, it.order, replace(after, quantity=it.order.quantity), context)
    terms = replace(after, quantity=before.quantity) != before  # not the quantity alone
    decide_rest(_rest(after, parts, more), context, more=wants_more(before, after), moved=moves_price(before, after))
    holds = _holds(after, parts, more, context, terms=terms, dearer=wants_more(before, after))
    gained = sum(holds[len(parts) :])
    for it, hold in reversed(list(zip(parts, holds, strict=False))):  # what is given back first, in the last of them
        if it.wanted == 0:
            await tx.execute(_TAKE_OFF, {"slice": it.order.id})
            gained -= it.order.hold_minor
        elif terms or it.wanted != it.left:
            gained += await _change_slice(tx, it, after, context, _follows(kind, it.order, after, context, moved), hold)
    follows = _follows(kind, order, after, context, moved) | {"hold_minor": order.hold_minor + gained}
    if "trigger_price" in follows:
        follows["trigger_price"] = parts[0].order.trigger_price
    await _whole_is_so(tx, order, after, context, follows, told=terms)
    if more:
        await _add(tx, order, more, holds[len(parts) :], order.reduces and reduces(_rest(after, parts, more), context))
    await tx.execute(_SUM_UP, {"order": order.id})
    tx.wake("execution")
    await tx.session.refresh(order)
    return order


async def _working(tx: Tx, order: Order, slices: Sequence[Order]) -> list[_Part]:
    works = [one for one in slices if OrderStatus(one.status) in _WORKING]
    hidden = works[1:] if order.order_class == OrderClass.ICEBERG else []  # they wait for the slice that is shown alone
    parts = []
    for one in works:
        left = one.quantity - one.filled_quantity
        held = hold_left(one.hold_minor, quantity=one.quantity, filled=one.filled_quantity)
        row = None if one in hidden else await waiting_row(tx, one)
        parts.append(_Part(one, row, left, held, wanted=left))
    return parts


async def _cut_anew(
    tx: Tx, order: Order, after: PlaceOrder, slices: Sequence[Order], parts: Sequence[_Part], context: Context
) -> Sequence[int]:
    """Says what is wanted of the slices that work, and answers the new ones."""
    asked, rules = after.quantity, trading_rules(context)
    check_quantity(asked, TradingRules(rules.tick, rules.lot, None), qty_exp=context.instrument["qty_exp"])
    if order.disclosed_quantity is not None and asked <= order.disclosed_quantity:
        message = "An order must be larger than what it discloses at a time."
        raise invalid("invalid_quantity", message, param="quantity")
    left = [it.left for it in parts]
    wanted = sum(left) + asked - order.quantity
    if wanted <= 0:
        message = "As much as that is filled already, or has ended; cancel what is left."
        raise conflict("quantity_filled", message, param="quantity")
    for it in parts:
        if (await tx.execute(_CANCEL_ASKED, {"tenant": tx.tenant_id, "slice": it.order.id})).scalar_one():
            raise conflict("change_pending", "A slice is being taken back; wait for its event.")
    if wanted > sum(left) and any(one.triggered_at for one in slices):
        message = "The stop was set off: what is more would wait for its trigger again. Place another order."
        raise conflict("order_not_changeable", message, param="quantity")
    shown = None
    if order.order_class == OrderClass.ICEBERG:
        shown = order.disclosed_quantity or max(one.quantity for one in slices)
    kept, more = cut_anew(left, wanted, OrderClass(order.order_class), rules, shown=shown)
    for it, quantity in zip(parts, kept, strict=True):
        it.wanted = quantity
    return more


def _without(found: Context, before: PlaceOrder, parts: Sequence[_Part]) -> Context:
    """The state without what works of the order. A slice that its broker is asked to take back holds what it does until
    then."""
    free = sum(it.held for it in parts if it.wanted or it.order.status in UNSENT)
    left = replace(before, quantity=sum(it.left for it in parts))
    return without(found, left, filled=0, held=free, orders=len(parts))


def _rest(after: PlaceOrder, parts: Sequence[_Part], more: Sequence[int]) -> PlaceOrder:
    """What is to be left of the order."""
    return replace(after, quantity=sum(it.wanted for it in parts) + sum(more))


def _holds(
    after: PlaceOrder, parts: Sequence[_Part], more: Sequence[int], context: Context, *, terms: bool, dearer: bool
) -> list[int]:
    """What is left of each slice then holds, of the new ones, too. Without other `terms`, one that is not cut is left
    alone. Raises `change_denied`."""
    rest = _rest(after, parts, more)
    slices = [(it.wanted, it.held, terms or it.wanted != it.left) for it in parts]
    holds, most = [], 0
    for quantity, now, changes in [*slices, *((quantity, 0, True) for quantity in more)]:
        part = replace(rest, quantity=quantity)
        holds.append(needed(part, context, now, more=dearer) if changes and quantity else now)
        most += max(holds[-1], now) if quantity else 0  # a broker's slice holds what it did until it has answered
        context = beside(context, part)  # what it closes, the next does not
    if dearer and most > max(context.available or 0, 0):  # each is rounded by itself
        raise denied("the account has less cash than its slices need")
    return holds


async def _change_slice(
    tx: Tx, it: _Part, after: PlaceOrder, context: Context, follows: dict[str, Any], hold_of_rest: int
) -> int:
    """Changes it here, or asks for it. By how much more it holds as a whole."""
    total = it.order.filled_quantity + it.wanted
    before, hold = it.order.hold_minor, hold_of_whole(hold_of_rest, quantity=total, filled=it.order.filled_quantity)
    follows = follows | {"hold_minor": hold}
    await carry_out(tx, it.order, replace(after, quantity=total), context, follows, it.row)
    return hold - before


def _follows(kind: OrderKind, order: Order, after: PlaceOrder, context: Context, moved: bool) -> dict[str, Any]:
    """What no caller names: the price that protects it, and the trigger of a type that finds its own."""
    found = {"protected_price": kind.protected_price(after, context) if moved else order.protected_price}
    return found if "trigger_price" in kind.needs | kind.takes else found | {"trigger_price": order.trigger_price}


async def _whole_is_so(
    tx: Tx, order: Order, after: PlaceOrder, context: Context, follows: dict[str, Any], *, told: bool
) -> None:
    """The row that stands for the slices has the terms that were asked for; each of them tells what became of it."""
    news = {"validity": after.validity, "parameters": after.parameters}
    columns = {name: getattr(after, name) for name in CHANGEABLE} | news | follows
    parameters = None if after.parameters is None else json.dumps(after.parameters)
    await tx.execute(_WHOLE, columns | {"parameters": parameters, "tenant": tx.tenant_id, "order": order.id})
    if told:
        tell(tx, order, columns | {"quantity": order.quantity}, news, context)


async def _add(tx: Tx, order: Order, more: Sequence[int], holds: Sequence[int], reduces: bool) -> None:
    asked = {"order": order.id, "quantities": list(more), "holds": list(holds), "reduces": reduces}
    await tx.execute(_ADD, asked)
