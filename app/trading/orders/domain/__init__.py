"""Decides an order's fate before it is sent: form and fixed facts refuse it (422), state and rules deny it (stored).

Also the one table of allowed transitions of an order's life.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from app.engine.fills import SlippageModel, slipped
from app.engine.schedule import Charges, charges, schedule_named
from app.kernel.errors import DomainError, Kind, invalid
from app.kernel.instrument import TradingRules
from app.kernel.money import currency_exponent, format_scaled, notional_minor
from app.kernel.orders import Mode, OrderStatus, OrderType, Product, Side, Validity
from app.market.instruments.domain import check_price, check_quantity
from app.trading.orders.domain.events import EVENTS
from app.trading.risk.domain import Exposure, Finding, Limits, Rule, check_algo_id, evaluate

__all__ = [
    "EVENTS",
    "MARKET_BUFFER_BPS",
    "TRANSITIONS",
    "Context",
    "Decision",
    "Estimate",
    "PlaceOrder",
    "check_form",
    "decide",
    "estimate",
    "reduces",
    "sources",
]

S = OrderStatus
_LATE = frozenset({S.OPEN, S.PARTIALLY_FILLED, S.FILLED})  # the broker has it after all: what it says is a fact
TRANSITIONS: dict[OrderStatus, frozenset[OrderStatus]] = {
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


@dataclass(frozen=True, slots=True)
class PlaceOrder:
    """What the caller asks. Quantity and limit price are integers at the instrument's exponents."""

    account_id: UUID
    instrument_id: UUID
    side: Side
    order_type: OrderType
    quantity: int
    limit_price: int | None
    product: Product
    validity: Validity
    client_order_id: str
    deployment_id: UUID | None = None
    reason: str | None = None
    algo_id: str | None = None

    @property
    def book_id(self) -> UUID:
        return self.deployment_id or self.account_id

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what was asked: the same client order id must ask the same."""
        asked: tuple[object, ...] = (
            self.account_id,
            self.instrument_id,
            self.side,
            self.order_type,
            self.quantity,
            self.limit_price,
            self.product,
            self.validity,
            self.client_order_id,
            self.deployment_id,
        )
        if self.algo_id is not None:  # only then, or orders of an earlier release would be others
            asked += (self.algo_id,)
        return hashlib.sha256("\x1f".join(map(str, asked)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Context:
    """What `orders_context` read, parsed: the account's, the instrument's and the market's state at one version."""

    account: Mapping[str, Any]
    instrument: Mapping[str, Any]
    tenant_status: str
    halted: Mapping[str, str] | None
    market_at: datetime | None
    session_day: date | None
    session_open: bool
    last_price: int | None
    price_age_s: int | None
    band_lower: int | None
    band_upper: int | None
    venue_halted: bool
    segment: str | None
    open_orders: int
    open_buy: int
    open_sell: int
    book_open_sell: int
    highest_buy: int | None
    lowest_sell: int | None
    book_quantity: int
    position_quantity: int
    available: int | None
    cash: int | None
    gross: int
    equity: int | None
    opening_equity: int | None
    high_equity: int | None
    peak_equity: int | None
    limits: Limits
    rates: Mapping[str, int]
    recent: tuple[tuple[str, int, int | None, int], ...] | None


@dataclass(frozen=True, slots=True)
class Decision:
    """`findings` has every rule's figures. An approved order holds `hold_minor` of the account's cash."""

    status: OrderStatus
    hold_minor: int
    findings: list[Finding]

    @property
    def reasons(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.verdict == "deny"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What an order would cost at `price`: its limit, or for a market order the last price with slippage and buffer.
    All None or empty while the feed shows no price."""

    price: int | None
    notional_minor: int | None
    charges: Charges


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
    rules = TradingRules(instrument["tick"], instrument["lot"], instrument["freeze_quantity"])
    check_quantity(command.quantity, rules, qty_exp=instrument["qty_exp"])
    if command.limit_price is not None:
        check_price(command.limit_price, rules, price_exp=instrument["price_exp"])


def reduces(command: PlaceOrder, context: Context) -> bool:
    """Whether the order only gives up what is held and not being sold already."""
    return command.side is Side.SELL and 0 < command.quantity <= context.position_quantity - context.open_sell


def decide(command: PlaceOrder, context: Context, rules: Mapping[str, Rule]) -> Decision:
    """Whether the order may go, given the state it was read in. Every finding is kept, the passing ones too."""
    only_reduces = reduces(command, context)
    findings = _state_findings(command, context, reduces=only_reduces)
    price = command.limit_price or context.last_price
    if price is None or context.last_price is None:
        findings.append(_deny("market", "a price", "none", "The feed shows no price of this instrument yet."))
        return Decision(OrderStatus.DENIED, 0, findings)
    hold = _hold(command, context, price)
    findings += evaluate(_exposure(command, context, price, hold, reduces=only_reduces), context.limits, rules)
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
    """Notional and charges of the whole order at `price`."""
    notional = _notional(command.quantity, price, context)
    fees = charges(
        schedule_named(context.account["charge_schedule"]),
        notional=notional,
        quantity=command.quantity,
        side=command.side,
        product=command.product,
        on=context.session_day or date.max,
        qty_exp=context.instrument["qty_exp"],
    )
    return notional, fees


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
