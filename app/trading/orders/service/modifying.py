"""Change an order: decided and paid for first, then done here where no broker knows of it, else asked for."""

from dataclasses import replace
from uuid import UUID

from sqlalchemy import text

from app.infra.database import Tx
from app.kernel.errors import conflict
from app.kernel.orders import Leg, OrderStatus
from app.market.instruments.domain import check_quantity
from app.trading.orders.domain import Context, PlaceOrder, kind_of, reduces, trading_rules
from app.trading.orders.domain.changing import (
    ChangeOrder,
    check_changeable,
    hold_left,
    hold_of_whole,
    moves_price,
    wants_more,
    without,
)
from app.trading.orders.domain.grouping import check_change
from app.trading.orders.service.change_slices import change_whole
from app.trading.orders.service.change_steps import (
    carry_out,
    check_form_of,
    command_of,
    decide_rest,
    needed,
    waiting_row,
)
from app.trading.orders.service.grouping import check_group
from app.trading.orders.service.kinds import kinds, own_parameters
from app.trading.orders.service.placing import gathered
from app.trading.orders.service.reading import get_order
from app.trading.orders.tables import Order

_TURN = text("SELECT accounts_advance_beside(:account)")


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
        return await change_whole(tx, order, change)
    status, row = OrderStatus(order.status), await waiting_row(tx, order)
    before = command_of(order, after_market=row is not None and row.waits_for == "open")
    kind = kind_of(before, kinds())
    check_changeable(status, order.pending_change, before, change, kind.at_venue(order.model_dump()))
    check_change(order.leg, change.quantity, has_parent=order.parent_id is not None)
    after = change.applied(before)
    if after.quantity <= order.filled_quantity:
        raise conflict("quantity_filled", "As much as that is filled already; cancel what is left.", param="quantity")
    held = hold_left(order.hold_minor, quantity=order.quantity, filled=order.filled_quantity)
    context = without(await gathered(tx, after), before, filled=order.filled_quantity, held=held)
    moved = after.trigger_price != before.trigger_price
    check_form_of(tx, after, context, moved=moved and status is not OrderStatus.WAITING)
    check_quantity(after.quantity, trading_rules(context), qty_exp=context.instrument["qty_exp"])
    await check_group(tx, order, after, context)
    rest = replace(after, quantity=after.quantity - order.filled_quantity)
    hold = hold_of_whole(
        _hold_of_rest(order, before, rest, context, held),
        quantity=after.quantity,
        filled=order.filled_quantity,
    )
    follows = {
        "hold_minor": hold,
        "protected_price": kind.protected_price(after, context) if moved else order.protected_price,
        "reduces": order.reduces and (after.quantity <= order.quantity or reduces(rest, context)),
    }
    return await carry_out(tx, order, after, context, follows, row)


def _hold_of_rest(order: Order, before: PlaceOrder, rest: PlaceOrder, context: Context, held: int) -> int:
    """What remains of a buy then holds; what asks for no more holds no more. An exit that waits for its entry holds
    nothing, and was decided with it. Raises `change_denied`."""
    if order.status == OrderStatus.WAITING:
        return 0
    after = replace(rest, quantity=rest.quantity + order.filled_quantity)
    more = wants_more(before, after)
    decide_rest(rest, context, more=more, moved=moves_price(before, after))
    return needed(rest, context, held, more=more)
