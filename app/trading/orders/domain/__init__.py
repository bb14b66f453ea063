"""Decides an order's fate before it is sent: form and fixed facts refuse it (422), state and rules deny it (stored).

What is particular to an order type its plug-in says, in `kinds`; the service hands in which there are.
"""

import re
from collections.abc import Mapping
from datetime import date

from app.engine.schedule import Charges, Head, charges, schedule_named
from app.kernel.errors import DomainError, Kind, invalid
from app.kernel.instrument import TradingRules
from app.kernel.money import currency_exponent, format_scaled
from app.kernel.orders import Mode, OrderClass, OrderStatus, Product, Side, Validity
from app.kernel.times import format_time
from app.trading.orders.domain.asked import Context, Decision, Estimate, Exit, PlaceOrder
from app.trading.orders.domain.calendar import cut_off
from app.trading.orders.domain.client import counted_together
from app.trading.orders.domain.events import EVENTS
from app.trading.orders.domain.exits import ENTERS, check_exits
from app.trading.orders.domain.grouping import SMALLEST_SHARE, check_slices, hidden_by_broker, slices_of
from app.trading.orders.domain.kinds import (
    MARKET_BUFFER_BPS,
    PLAIN_VALIDITIES,
    STOP_VALIDITIES,
    AtMarket,
    AtVenue,
    Kinds,
    OrderKind,
    Waits,
    check_fields,
    check_stop_side,
    expected,
    kind_of,
    protected,
    trailed,
    trailed_price,
    waits_for_trigger,
)
from app.trading.orders.domain.life import TRANSITIONS, sources
from app.trading.orders.domain.margin import ON_MARGIN, margin_of
from app.trading.risk.domain import Exposure, Finding, Rule, check_algo_id, evaluate

__all__ = [
    "ENTERS",
    "EVENTS",
    "EXIT_ALL",
    "MARKET_BUFFER_BPS",
    "PLAIN_VALIDITIES",
    "SMALLEST_SHARE",
    "SQUARE_OFF",
    "STOP_VALIDITIES",
    "TRANSITIONS",
    "AtMarket",
    "AtVenue",
    "Context",
    "Decision",
    "Estimate",
    "Exit",
    "Kinds",
    "OrderKind",
    "PlaceOrder",
    "Waits",
    "check_fields",
    "check_form",
    "check_stop_side",
    "decide",
    "estimate",
    "expected",
    "hidden",
    "hold_of",
    "holds",
    "kind_of",
    "margin_of",
    "parts",
    "protected",
    "reduces",
    "sources",
    "trading_rules",
    "trailed",
    "trailed_price",
    "waits_for_trigger",
]

SQUARE_OFF, EXIT_ALL = "square_off", "exit_all"
"""Reasons of orders that are ours: one closes an intraday position at its cut-off, one when somebody wants out. No
caller of the API gives reasons."""
_OVER_SESSIONS = (Validity.GTC, Validity.GTT)
_CLIENT_ORDER_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)


def check_form(command: PlaceOrder, context: Context, kinds: Kinds, *, mode: Mode | None) -> None:
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
    if command.product is Product.INTRADAY and command.reason not in (SQUARE_OFF, EXIT_ALL):
        _check_intraday(command, context)
    kind = kind_of(command, kinds)
    if instrument["tick"] is None:
        raise invalid(
            "not_tradable", f"{instrument['symbol']} has no trading rules at this time.", param="instrument_id"
        )
    rules = trading_rules(context)
    check_exits(command, context, rules)
    check_slices(command, rules, qty_exp=instrument["qty_exp"])
    check_fields(command, kind, rules, price_exp=instrument["price_exp"])
    kind.check(command, context)


def _check_intraday(command: PlaceOrder, context: Context) -> None:
    if context.segment not in ON_MARGIN:
        message = f"Only cash equity is traded intraday, not the segment {context.segment}; use delivery."
        raise invalid("unsupported_product", message, param="product")
    if command.validity in _OVER_SESSIONS:
        raise invalid("invalid_validity", "An intraday order lives for a session: day, ioc or ttl.", param="validity")


def closes(command: PlaceOrder, context: Context) -> int:
    """How much of the order, at `qty_exp`, only gives up what its book holds and is not giving up already."""
    held, side = context.book_quantity, command.side
    free = held - context.book_open_sell if side is Side.SELL else -held - context.book_open_buy
    return max(0, min(command.quantity, free))


def reduces(command: PlaceOrder, context: Context) -> bool:
    """Whether the whole order only gives up what its book holds and is not giving up already."""
    return 0 < command.quantity == closes(command, context)


def decide(command: PlaceOrder, context: Context, kinds: Kinds, rules: Mapping[str, Rule]) -> Decision:
    """Whether the order may go, given the state it was read in. Every finding is kept, the passing ones too."""
    only_reduces = reduces(command, context)
    findings = _state_findings(command, context, reduces=only_reduces)
    kind = kind_of(command, kinds)
    findings += kind.findings(command, context)
    price = kind.price(command, context)
    if price is None or context.last_price is None:
        findings.append(_deny("market", "a price", "none", "The feed shows no price of this instrument yet."))
        return Decision(OrderStatus.DENIED, 0, findings)
    hold = sum(_holds(command, context, kind, price))
    exposure = _exposure(command, context, price, hold, reduces=only_reduces)
    said = evaluate(exposure, context.limits, rules)
    findings += said if context.client is None else counted_together(said, exposure, context.client, rules)
    money = currency_exponent(context.account["currency"])
    available = context.available or 0
    if hold > max(available, 0):  # who owes may give up what is held: it needs nothing
        findings.append(
            _deny(
                "available_funds",
                format_scaled(available, money),
                format_scaled(hold, money),
                "The order needs more cash than the account has available; order less, or add funds.",
            )
        )
    denied = any(finding.verdict == "deny" for finding in findings)
    status = OrderStatus.DENIED if denied else OrderStatus.ACCEPTED
    return Decision(status, 0 if denied else hold, findings, only_reduces)


def _state_findings(command: PlaceOrder, context: Context, *, reduces: bool) -> list[Finding]:
    findings = []
    account = context.account
    if command.after_market and context.session_open:
        findings.append(
            _deny("session", "closed", "open", "The session is open; place the order without after_market.")
        )
    if command.product is Product.INTRADAY and not reduces:
        findings += _too_late(context)
        findings += _opens_by_oco(command, context) or _turns_beside_exits(command, context)
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


def _too_late(context: Context) -> list[Finding]:
    at, closes_at = context.market_at, context.session_closes_at
    if at is None or closes_at is None or at < (limit := cut_off(context.session_segment or "", closes_at)):
        return []
    message = "Intraday positions are being closed; open one in the next session, or trade for delivery."
    return [_deny("intraday_cut_off", format_time(limit), format_time(at), message)]


def _opens_by_oco(command: PlaceOrder, context: Context) -> list[Finding]:
    """One of two orders that close a position must not open one."""
    if command.order_class is not OrderClass.OCO:
        return []
    free, asked = (
        format_scaled(quantity, context.instrument["qty_exp"])
        for quantity in (closes(command, context), command.quantity)
    )
    return [_deny("position", free, asked, "An oco order closes what is held and not being closed; order less.")]


def _turns_beside_exits(command: PlaceOrder, context: Context) -> list[Finding]:
    """What closes holds nothing. Once another order has closed the position it would open one that nobody paid for, and
    that halts let pass as an exit: so none may open beside it, nor a later slice of the same order."""
    sells, free = command.side is Side.SELL, closes(command, context)
    held = context.book_quantity if sells else -context.book_quantity
    closing = context.book_open_sell if sells else context.book_open_buy
    if held <= 0 or not (closing > 0 or (free > 0 and len(parts(command, context)) > 1)):
        return []
    scale = context.instrument["qty_exp"]
    message = (
        "What is held is being closed: order no more than is free of it, or cancel the orders that close it first."
    )
    if closing <= 0:
        message = "An order that is sent in slices closes a position or opens one: order what is held first."
    return [_deny("position", format_scaled(free, scale), format_scaled(command.quantity, scale), message)]


def _deny(rule: str, limit: str, value: str, message: str) -> Finding:
    return Finding(rule=rule, verdict="deny", limit=limit, value=value, message=message)


def trading_rules(context: Context) -> TradingRules:
    """The instrument's, at the decision."""
    found = context.instrument
    return TradingRules(found["tick"], found["lot"], found["freeze_quantity"])


def parts(command: PlaceOrder, context: Context) -> tuple[int, ...]:
    """The quantities that the order is sent in: one, or those of its slices."""
    if hidden(command, context) is not None:
        return (command.quantity,)
    rules = trading_rules(context)
    return slices_of(command.order_class, command.quantity, command.slices, rules, shown=command.disclosed_quantity)


def hidden(command: PlaceOrder, context: Context) -> int | None:
    """What the broker itself shows of the order, hiding the rest. None: all of what it is sent."""
    return hidden_by_broker(command, trading_rules(context)) if context.native_iceberg else None


def hold_of(command: PlaceOrder, context: Context, kinds: Kinds) -> int | None:
    """What the order holds once it was accepted, in minor units; None while the feed shows no price."""
    kind = kind_of(command, kinds)
    price = kind.price(command, context)
    return None if price is None else sum(_holds(command, context, kind, price))


def holds(command: PlaceOrder, context: Context, kinds: Kinds) -> tuple[int, ...]:
    """What each of `parts` holds of an order that was accepted; they sum to the decision's hold."""
    kind = kind_of(command, kinds)
    price = kind.price(command, context)
    return (0,) * len(parts(command, context)) if price is None else _holds(command, context, kind, price)


def _holds(command: PlaceOrder, context: Context, kind: OrderKind, price: int) -> tuple[int, ...]:
    """For delivery what a buy may cost at most (a market order: as far as one can know), and of a sale nothing. For
    intraday the margin of what it opens. Both with the charges."""
    sizes = parts(command, context)
    if command.product is Product.DELIVERY and command.side is Side.SELL:
        return (0,) * len(sizes)
    worst, left, found = kind.worst_price(command, context, price), 0, []
    if command.product is Product.INTRADAY:
        left = closes(command, context)
        if command.side is Side.SELL:  # it may fill at more than its limit, and blocks as much more
            worst = max(worst, price, context.last_price or 0)
    for size in sizes:
        notional, fees = _cost_of(size, command, context, worst)
        if command.product is Product.INTRADAY:
            opened = size - min(size, left)
            left -= size - opened
            blocked = margin_of(context.notional(opened, worst), context.instrument["venue"])
            found.append(blocked + fees.total if opened else 0)
        else:
            found.append(notional + fees.total)
    return tuple(found)


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
    notional = context.notional(quantity, price)
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


def estimate(command: PlaceOrder, context: Context, kinds: Kinds) -> Estimate:
    """The cost that the hold of a buy is made of; of a sell, what it would bring and be charged."""
    kind = kind_of(command, kinds)
    price = kind.price(command, context)
    if price is None:
        return Estimate(None, None, Charges(()))
    worst = kind.worst_price(command, context, price)
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
        notional_minor=context.notional(command.quantity, price),
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
        pending_minor=context.pending,
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
