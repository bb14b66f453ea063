"""Decides an order's fate before it is sent: form and fixed facts refuse it (422), state and rules deny it (stored).

Also the one table of allowed transitions of an order's life.
"""

import re
from collections.abc import Mapping
from datetime import date

from app.engine.fills import SlippageModel, slipped
from app.engine.schedule import Charges, Head, charges, schedule_named
from app.kernel.errors import DomainError, Kind, invalid
from app.kernel.instrument import TradingRules
from app.kernel.money import currency_exponent, format_scaled, notional_minor
from app.kernel.orders import Mode, OrderStatus, OrderType, Product, Side
from app.market.instruments.domain import check_price
from app.trading.orders.domain.asked import Context, Decision, Estimate, Exit, PlaceOrder
from app.trading.orders.domain.events import EVENTS
from app.trading.orders.domain.exits import ENTERS, check_exits
from app.trading.orders.domain.grouping import check_slices, slices_of
from app.trading.risk.domain import Exposure, Finding, Rule, check_algo_id, evaluate

__all__ = [
    "ENTERS",
    "EVENTS",
    "MARKET_BUFFER_BPS",
    "TRANSITIONS",
    "Context",
    "Decision",
    "Estimate",
    "Exit",
    "PlaceOrder",
    "check_form",
    "decide",
    "estimate",
    "holds",
    "parts",
    "sources",
]

S = OrderStatus
_LATE = frozenset({S.OPEN, S.PARTIALLY_FILLED, S.FILLED})  # the broker has it after all: what it says is a fact
TRANSITIONS: dict[OrderStatus, frozenset[OrderStatus]] = {
    S.WAITING: frozenset({S.ACCEPTED, S.CANCELLED}),
    S.ACCEPTED: frozenset({S.SUBMITTING, S.CANCELLED}),
    S.SUBMITTING: frozenset(
        {
            S.ACCEPTED,  # the broker did not look at it: it waits again
            S.OPEN,
            S.PARTIALLY_FILLED,
            S.FILLED,
            S.CANCELLED,
            S.REJECTED,
            S.EXPIRED,
            S.UNKNOWN,
        }
    ),
    S.UNKNOWN: frozenset({S.OPEN, S.PARTIALLY_FILLED, S.FILLED, S.CANCELLED, S.REJECTED, S.EXPIRED, S.LOST}),
    S.OPEN: frozenset({S.PARTIALLY_FILLED, S.FILLED, S.CANCELLED, S.REJECTED, S.EXPIRED, S.UNKNOWN}),
    S.PARTIALLY_FILLED: frozenset({S.PARTIALLY_FILLED, S.FILLED, S.CANCELLED, S.REJECTED, S.EXPIRED, S.UNKNOWN}),
    S.LOST: frozenset({S.OPEN, S.PARTIALLY_FILLED, S.FILLED, S.CANCELLED, S.REJECTED, S.EXPIRED}),
    S.DENIED: frozenset(),
    S.FILLED: frozenset(),
    S.CANCELLED: _LATE,
    S.REJECTED: _LATE,
    S.EXPIRED: _LATE,
}
"""From each status, the ones that may follow. Nothing else ever happens to an order."""

MARKET_BUFFER_BPS = 50
"""What a market order holds beyond the last price and its slippage: it fills at a price nobody knows yet."""
_CLIENT_ORDER_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)


def sources(target: OrderStatus) -> list[str]:
    """The statuses from which an order may become `target`."""
    return [status.value for status, following in TRANSITIONS.items() if target in following]


def check_form(command: PlaceOrder, context: Context, *, mode: Mode | None) -> None:
    """What is wrong whatever the time: raises, and nothing is written."""
    if not _CLIENT_ORDER_ID.fullmatch(command.client_order_id):
        raise invalid(
            "invalid_client_order_id",
            "client_order_id takes 1 to 64 letters, digits, '_', '.', ':' or '-'.",
            param="client_order_id",
        )
    if command.algo_id is not None:
        check_algo_id(command.algo_id)
    if mode is not None and context.account["mode"] != mode.value:
        raise DomainError(
            "mode_mismatch",
            Kind.FORBIDDEN,
            f"A {mode.value} key cannot trade a {context.account['mode']} account; use a key of the account's mode.",
            param="account_id",
        )
    instrument = context.instrument
    if instrument["currency"] != context.account["currency"]:
        raise invalid(
            "currency_mismatch",
            f"{instrument['symbol']} trades in {instrument['currency']}, the account is in "
            f"{context.account['currency']}; use an account in {instrument['currency']}.",
            param="instrument_id",
        )
    if command.product is not Product.DELIVERY:
        raise invalid("unsupported_product", "Only delivery orders can be traded yet.", param="product")
    if (command.order_type is OrderType.LIMIT) != (command.limit_price is not None):
        wants = "needs" if command.order_type is OrderType.LIMIT else "takes no"
        raise invalid("invalid_limit_price", f"A {command.order_type} order {wants} limit_price.", param="limit_price")
    if instrument["tick"] is None:
        raise invalid(
            "not_tradable", f"{instrument['symbol']} has no trading rules at this time.", param="instrument_id"
        )
    rules = trading_rules(context)
    check_exits(command, context, rules)
    check_slices(command.order_class, command.quantity, command.slices, rules, qty_exp=instrument["qty_exp"])
    if command.limit_price is not None:
        check_price(command.limit_price, rules, price_exp=instrument["price_exp"])


def decide(command: PlaceOrder, context: Context, rules: Mapping[str, Rule]) -> Decision:
    """Whether the order may go, given the state it was read in. Every finding is kept, the passing ones too."""
    reduces = command.side is Side.SELL and 0 < command.quantity <= context.position_quantity - context.open_sell
    findings = _state_findings(command, context, reduces=reduces)
    price = command.limit_price or context.last_price
    if price is None or context.last_price is None:
        findings.append(_deny("market", "a price", "none", "The feed shows no price of this instrument yet."))
        return Decision(OrderStatus.DENIED, 0, findings)
    hold = _hold(command, context, price)
    findings += evaluate(_exposure(command, context, price, hold, reduces=reduces), context.limits, rules)
    money = currency_exponent(context.account["currency"])
    available = context.available or 0
    if hold > available:
        findings.append(
            _deny(
                "available_funds",
                format_scaled(available, money),
                format_scaled(hold, money),
                "The order needs more cash than the account has available; order less, or add funds.",
            )
        )
    denied = any(finding.verdict == "deny" for finding in findings)
    return Decision(OrderStatus.DENIED if denied else OrderStatus.ACCEPTED, 0 if denied else hold, findings)


def _state_findings(command: PlaceOrder, context: Context, *, reduces: bool) -> list[Finding]:
    findings = []
    account = context.account
    if account["status"] == "closed":
        findings.append(_deny("account_status", "active", "closed", "The account is closed."))
    elif account["status"] == "reduce_only" and not reduces:
        findings.append(_deny("account_status", "active", "reduce_only", "The account may only reduce positions."))
    if context.tenant_status != "active" and not reduces:
        findings.append(_deny("tenant_status", "active", context.tenant_status, "A suspended tenant may only exit."))
    if context.halted is not None and not reduces:
        level, why = context.halted["level"], context.halted["reason"]
        findings.append(
            _deny("halt", "none", context.halted["mode"], f"The {level} is halted and may only exit: {why}")
        )
    return findings


def _deny(rule: str, limit: str, value: str, message: str) -> Finding:
    return Finding(rule=rule, verdict="deny", limit=limit, value=value, message=message)


def _notional(quantity: int, price: int, context: Context) -> int:
    i = context.instrument
    money = currency_exponent(context.account["currency"])
    return notional_minor(quantity, price, qty_exp=i["qty_exp"], price_exp=i["price_exp"], money_exp=money)


def _hold(command: PlaceOrder, context: Context, price: int) -> int:
    """What a buy may cost at most (a market order: as far as one can know), with its charges. A sell holds nothing."""
    if command.side is Side.SELL:
        return 0
    notional, fees = _cost(command, context, _worst_price(command, context, price))
    return notional + fees.total


def _worst_price(command: PlaceOrder, context: Context, price: int) -> int:
    if command.order_type is OrderType.LIMIT:
        return price
    model = SlippageModel(context.account["slippage_bps"] + MARKET_BUFFER_BPS)
    return slipped(price, command.side, tick=context.instrument["tick"], slippage=model)


def _cost(command: PlaceOrder, context: Context, price: int) -> tuple[int, Charges]:
    """Notional and charges of the whole order at `price`: each of its slices is charged as an order of its own."""
    costs = [_cost_of(quantity, command, context, price) for quantity in parts(command, context)]
    if len(costs) == 1:
        return costs[0]
    heads: dict[str, int] = {}
    for _, fees in costs:
        for head in fees.heads:
            heads[head.name] = heads.get(head.name, 0) + head.minor
    return sum(notional for notional, _ in costs), Charges(tuple(Head(*head) for head in heads.items()))


def _cost_of(quantity: int, command: PlaceOrder, context: Context, price: int) -> tuple[int, Charges]:
    notional = _notional(quantity, price, context)
    fees = charges(
        schedule_named(context.account["charge_schedule"]),
        notional=notional,
        quantity=quantity,
        side=command.side,
        product=command.product,
        on=context.session_day or date.max,
        qty_exp=context.instrument["qty_exp"],
    )
    return notional, fees


def trading_rules(context: Context) -> TradingRules:
    """The instrument's, at the decision."""
    found = context.instrument
    return TradingRules(found["tick"], found["lot"], found["freeze_quantity"])


def parts(command: PlaceOrder, context: Context) -> tuple[int, ...]:
    """The quantities that the order is sent in: one, or those of its slices."""
    return slices_of(command.order_class, command.quantity, command.slices, trading_rules(context))


def holds(command: PlaceOrder, context: Context) -> tuple[int, ...]:
    """What each of `parts` holds of an order that was accepted; they sum to the decision's hold."""
    price = command.limit_price or context.last_price
    if command.side is Side.SELL or price is None:
        return (0,) * len(parts(command, context))
    worst = _worst_price(command, context, price)
    costs = (_cost_of(quantity, command, context, worst) for quantity in parts(command, context))
    return tuple(notional + fees.total for notional, fees in costs)


def estimate(command: PlaceOrder, context: Context) -> Estimate:
    """The cost that the hold of a buy is made of; of a sell, what it would bring and be charged."""
    price = command.limit_price or context.last_price
    if price is None:
        return Estimate(None, None, Charges(()))
    worst = _worst_price(command, context, price)
    return Estimate(worst, *_cost(command, context, worst))


def _exposure(command: PlaceOrder, context: Context, price: int, hold: int, *, reduces: bool) -> Exposure:
    equity, available = context.equity or 0, context.available or 0
    return Exposure(
        side=command.side,
        quantity=command.quantity,
        order_type=command.order_type,
        limit_price=command.limit_price,
        price=price,
        last_price=context.last_price,
        notional_minor=_notional(command.quantity, price, context),
        position_quantity=context.position_quantity,
        open_buy=context.open_buy,
        open_sell=context.open_sell,
        open_orders=context.open_orders,
        equity_minor=equity,
        opening_equity_minor=equity if context.opening_equity is None else context.opening_equity,
        available_minor=available,
        hold_minor=hold,
        currency=context.account["currency"],
        price_exp=context.instrument["price_exp"],
        qty_exp=context.instrument["qty_exp"],
        money_exp=currency_exponent(context.account["currency"]),
        reduces=reduces,
        instrument_id=command.instrument_id,
        product=command.product,
        segment=context.segment,
        book_free=context.book_quantity - context.book_open_sell,
        gross_minor=context.gross,
        pending_minor=max((context.cash or 0) - available, 0),
        high_equity_minor=max(equity, context.high_equity or equity),
        peak_equity_minor=max(equity, context.peak_equity or equity),
        price_age_s=context.price_age_s,
        session_open=context.session_open,
        band_lower=context.band_lower,
        band_upper=context.band_upper,
        venue_halted=context.venue_halted,
        highest_buy=context.highest_buy,
        lowest_sell=context.lowest_sell,
        orders_this_second=context.rates.get("orders_this_second"),
        orders_today=context.rates.get("orders_today"),
        fills_today=context.rates.get("fills_today"),
        recent=context.recent,
    )
