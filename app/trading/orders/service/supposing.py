"""What if: several orders of one account, one after the other, each decided on what the ones before would leave behind.

Writes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.infra.database import Tx
from app.kernel.errors import DomainError, Kind, invalid
from app.kernel.orders import OrderStatus, Product, Side
from app.trading.orders.domain import Context, PlaceOrder
from app.trading.orders.service.placing import ATTEMPTS, Preview, gathered, previewed

MAX_ORDERS = 20


@dataclass(frozen=True, slots=True)
class Supposed:
    """One order of several. `position_after`: the account's, if the accepted ones up to here fill."""

    command: PlaceOrder
    preview: Preview
    position_after: int


async def suppose_orders(tx: Tx, commands: Sequence[PlaceOrder]) -> list[Supposed]:
    """What `place_order` would decide on each, on one state of the account.

    Raises what `preview_order` raises, `several_accounts`, and `account_busy` when the account never held still.
    """
    if len({command.account_id for command in commands}) > 1:
        raise invalid("several_accounts", "Suppose orders of one account at a time.", param="orders")
    for _ in range(ATTEMPTS):
        contexts = [await gathered(tx, command) for command in commands]
        if len({context.account["version"] for context in contexts}) == 1:
            return _one_after_the_other(tx, commands, contexts)
    raise DomainError("account_busy", Kind.UNAVAILABLE, "Too many orders of this account at once; send it again.")


def _one_after_the_other(tx: Tx, commands: Sequence[PlaceOrder], contexts: Sequence[Context]) -> list[Supposed]:
    done: list[Supposed] = []
    for command, context in zip(commands, contexts, strict=True):
        before = [one for one in done if one.preview.decision.status is OrderStatus.ACCEPTED]
        preview = previewed(tx, command, _after(context, command, before))
        position = context.position_quantity + sum(
            one.command.side.sign * one.command.quantity
            for one in before
            if one.command.instrument_id == command.instrument_id
        )
        if preview.decision.status is OrderStatus.ACCEPTED:
            position += command.side.sign * command.quantity
        done.append(Supposed(command, preview, position))
    return done


def _after(context: Context, command: PlaceOrder, before: Sequence[Supposed]) -> Context:
    """The state in which the orders `before` work already."""
    if not before:
        return context
    here = [one.command for one in before if one.command.instrument_id == command.instrument_id]
    buys, sells = ([one for one in here if one.side is side] for side in Side)
    buy_prices = [one.limit_price or 2**63 - 1 for one in buys]
    sell_prices = [one.limit_price or 0 for one in sells]
    if context.highest_buy is not None:
        buy_prices.append(context.highest_buy)
    if context.lowest_sell is not None:
        sell_prices.append(context.lowest_sell)
    recent = context.recent
    if recent is not None:
        recent = (*recent, *((one.side.value, one.quantity, one.limit_price, 0) for one in here))
    counted = ("orders_this_second", "orders_today")
    client = context.client
    if client is not None:
        client = replace(
            client,
            open_orders=client.open_orders + len(before),
            open_buy=client.open_buy + sum(one.quantity for one in buys),
            open_sell=client.open_sell + sum(one.quantity for one in sells),
        )
    return replace(
        context,
        open_orders=context.open_orders + len(before),
        open_buy=context.open_buy + sum(one.quantity for one in buys),
        open_sell=context.open_sell + sum(one.quantity for one in sells),
        book_open_buy=context.book_open_buy + _beside(command, buys),
        book_open_sell=context.book_open_sell + _beside(command, sells),
        highest_buy=max(buy_prices, default=None),
        lowest_sell=min(sell_prices, default=None),
        available=(context.available or 0) - sum(one.preview.decision.hold_minor for one in before),
        pending=context.pending + sum(map(_adds, before)),
        rates={name: value + len(before) * (name in counted) for name, value in context.rates.items()},
        recent=recent,
        client=client,
    )


def _beside(command: PlaceOrder, others: Sequence[PlaceOrder]) -> int:
    """What of `others` trades for the same book and product."""
    return sum(one.quantity for one in others if (one.book_id, one.product) == (command.book_id, command.product))


def _adds(one: Supposed) -> int:
    """What it could add to positions: on margin more than it holds."""
    hold = one.preview.decision.hold_minor
    on_margin = one.command.product is Product.INTRADAY and hold > 0
    return max(hold, one.preview.estimate.notional_minor or 0) if on_margin else hold
