"""Get out: take back every order, and close every position, of an account or a part of it.

Both are rows of work in the accounts' lanes, ahead of everything else there, and never die. An exit is sized when its
turn comes, to what is then held and not already being sold, so that asking twice, or a worker that is killed, sells
nothing twice.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from app.custody.accounts.service import get_account
from app.infra.database import Database, Tx
from app.infra.work.runner import Item, Retry
from app.kernel.errors import DomainError, Kind
from app.kernel.ids import derive_id, uuid7
from app.kernel.orders import OrderStatus, OrderType, Product, Side, Validity
from app.trading.orders.domain import EXIT_ALL, SQUARE_OFF, PlaceOrder, trading_rules
from app.trading.orders.domain.grouping import MAX_FREEZE_SLICES, largest_part
from app.trading.orders.service.placing import PlacedOrder, gathered, place_order
from app.trading.orders.service.resolving import pause

PATIENCE = 10
"""How often an exit waits a second for orders of its position to be taken back; then it goes with what is free, and its
pauses grow."""

_CANCEL_ALL = text("select order_id from orders_cancel_all(:mode, :account, :instrument, :side)")
_EXIT_ALL = text("select book_id, instrument_id from orders_exit_all(:account, :instrument, :request)")
_CANCEL_EXITS = text("select orders_cancel_exits(:account, :book, :instrument, :product)")
_CONTEXT = text("select * from orders_exit_context(:account, :book, :instrument, :product, :item)")
_INTRADAY_CONTEXT = text(
    "select * from orders_square_off_context(:account, :book, :instrument, :feed, cast(:until as timestamptz), :item)"
)


@dataclass(frozen=True, slots=True)
class Which:
    """Of which account, instrument and side; None: of all."""

    account_id: UUID | None = None
    instrument_id: UUID | None = None
    side: Side | None = None


async def cancel_all(tx: Tx, which: Which) -> list[UUID]:
    """Ask for every such working order of the key's mode to be taken back. Answers which they are.

    What is placed afterwards is not touched. Raises `account_not_found`.
    """
    if which.account_id is not None:
        await get_account(tx, which.account_id)
    asked = {
        "mode": tx.principal.mode.value if tx.principal else None,
        "account": which.account_id,
        "instrument": which.instrument_id,
        "side": which.side,
    }
    found = [row.order_id for row in await tx.execute(_CANCEL_ALL, asked)]
    if found:
        tx.wake("execution")
    return found


async def exit_all(tx: Tx, which: Which, *, now: datetime) -> tuple[list[UUID], list[UUID]]:
    """Take back every such order of the account, then close every such position at the market.

    So is what one of the orders still opens before it is taken back. Answers the orders, and the instruments of the
    positions that there are. A deployment that runs may enter again: pause it first.
    Raises `account_not_found`, and `mode_mismatch` for an account that is not of the key's mode.
    """
    if which.account_id is None:
        raise ValueError("an exit is of one account")
    account = await get_account(tx, which.account_id)
    if tx.principal is not None and account.mode != tx.principal.mode.value:
        raise DomainError(
            "mode_mismatch",
            Kind.FORBIDDEN,
            f"A {tx.principal.mode.value} key cannot trade a {account.mode} account; use a key of the account's mode.",
            param="account_id",
        )
    orders = await cancel_all(tx, which)
    asked = {
        "account": which.account_id,
        "instrument": which.instrument_id,
        "request": uuid7(unix_ms=int(now.timestamp() * 1000)).hex,
    }
    positions = [row.instrument_id for row in await tx.execute(_EXIT_ALL, asked)]
    if positions:
        tx.wake("execution")
    return orders, positions


async def exit_position(database: Database, item: Item, *, now: datetime) -> None:
    """Close what one book holds of one instrument, as far as it is free: all of it, or with `until` in the payload what
    intraday orders of the feed had filled by then. Raises until exits of ours that stay cover the position, and nothing
    is being taken back that could still open one."""
    asked: dict[str, Any] = {name: UUID(item.payload[f"{name}_id"]) for name in ("account", "book", "instrument")}
    asked["product"] = _product(item)
    async with database.tx(item.tenant_id) as tx:
        found = await _to_close(tx, item, asked)
        waits = found.waiting and item.attempts <= PATIENCE
        placed, size = (None, 0) if waits else await _place(tx, item, found, now=now)
        uncovered = abs(found.quantity) - found.closing > size
        if found.unasked and (waits or uncovered):
            await tx.execute(_CANCEL_EXITS, asked)  # those of an entry that was filled before its cancel came
            tx.wake("execution")
    if placed is not None and placed.status is OrderStatus.DENIED:
        raise RuntimeError(f"the exit was denied: {', '.join(reason.rule for reason in placed.reasons)}")
    if waits or found.leaving:
        raise Retry(_pause(item), "orders of this position are still being taken back")
    if uncovered:
        raise Retry(_pause(item), "a part of this position is not free, or more than one order may close")


async def _place(tx: Tx, item: Item, found: Any, *, now: datetime) -> tuple[PlacedOrder | None, int]:
    """The order that closes what is free, and its size: what an order may have at most, if there is more."""
    side = Side.SELL if found.quantity > 0 else Side.BUY
    free = abs(found.quantity) - (found.selling if side is Side.SELL else found.buying)
    if free <= 0:
        return None, 0
    command = _closing(item, side, free)
    most = MAX_FREEZE_SLICES * largest_part(free, trading_rules(await gathered(tx, command)))
    command = replace(command, quantity=min(free, most))
    return await place_order(tx, command, now=now), command.quantity


def _pause(item: Item) -> int:
    return pause(max(item.attempts - PATIENCE, 1))


async def _to_close(tx: Tx, item: Item, asked: dict[str, Any]) -> Any:
    until, asked = item.payload.get("until"), asked | {"item": item.id}
    if until is None:
        return (await tx.execute(_CONTEXT, asked)).one()
    part = {"feed": item.payload["feed"], "until": datetime.fromisoformat(until)}
    return (await tx.execute(_INTRADAY_CONTEXT, asked | part)).one()


def _product(item: Item) -> Product:
    """Of the position. A row of work of an earlier release names none: there was but one, and squaring off."""
    unnamed = Product.DELIVERY if item.payload.get("until") is None else Product.INTRADAY
    return Product(item.payload.get("product", unnamed))


def _closing(item: Item, side: Side, quantity: int) -> PlaceOrder:
    account_id, book_id, instrument_id = (
        UUID(item.payload[f"{name}_id"]) for name in ("account", "book", "instrument")
    )
    product = _product(item)
    name = derive_id("exit", item.payload["request"], book_id, instrument_id, product).hex
    return PlaceOrder(
        account_id=account_id,
        instrument_id=instrument_id,
        side=side,
        order_type=OrderType.MARKET,
        quantity=quantity,
        limit_price=None,
        product=product,
        validity=Validity.GTC,
        client_order_id=f"exit_{name}_{item.attempts}",
        deployment_id=None if book_id == account_id else book_id,
        reason=EXIT_ALL if item.payload.get("until") is None else SQUARE_OFF,
    )
