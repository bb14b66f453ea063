"""The rules: exact at their limits, monotone, and never in the way of getting out."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kernel.ids import encode_id
from app.kernel.orders import OrderType, Product, Side
from app.trading.risk.domain import Exposure, Finding, Limits, applied, evaluate
from app.trading.risk.service import rules

BASE = Exposure(
    side=Side.BUY,
    quantity=10,
    order_type=OrderType.LIMIT,
    limit_price=1_000_000,
    price=1_000_000,
    last_price=1_000_000,
    notional_minor=100_000,
    position_quantity=0,
    open_buy=0,
    open_sell=0,
    open_orders=0,
    equity_minor=1_000_000,
    opening_equity_minor=1_000_000,
    available_minor=1_000_000,
    hold_minor=100_000,
    currency="USD",
    price_exp=4,
    qty_exp=0,
    money_exp=2,
    reduces=False,
)


def limits_of(limits: dict[str, dict[str, Any]]) -> Limits:
    """The limits of one level."""
    return {rule: applied(rules()[rule], [("account", said)]).parameters for rule, said in limits.items()}


def verdict(rule: str, parameters: dict[str, Any], **changes: Any) -> Finding:
    """What the rule says; silence is a pass."""
    found = evaluate(replace(BASE, **changes), limits_of({rule: parameters}), {rule: rules()[rule]})
    return found[0] if found else Finding(rule, "pass", "", "", "")


INS = encode_id("ins", UUID(int=7))
LIKE = ("buy", 10, 1_000_000)
CASES: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ("max_order_value", {"limit": "1000.00"}, {}, {"notional_minor": 100_001}),
    ("max_position", {"limit": "1000.00"}, {}, {"open_buy": 1}),
    ("max_position", {"limit": "2000.00"}, {"position_quantity": 10}, {"position_quantity": 11}),
    ("max_daily_loss", {"limit": "100.00"}, {"equity_minor": 990_000}, {"equity_minor": 989_999}),
    ("max_open_orders", {"limit": 3}, {"open_orders": 2}, {"open_orders": 3}),
    ("price_collar", {"limit_bps": 500}, {"limit_price": 1_050_000}, {"limit_price": 1_050_001}),
    ("price_collar", {"limit_bps": 500}, {"limit_price": 100}, {"last_price": None}),
    ("max_quantity", {"limit": "10"}, {}, {"quantity": 11}),
    ("max_quantity", {"limit": "0.010"}, {"qty_exp": 3}, {"qty_exp": 3, "quantity": 11}),
    ("max_quantity", {"limit": "10.5"}, {}, {"quantity": 11}),
    ("max_concentration", {"limit_bps": 1_000}, {}, {"open_buy": 1}),
    ("max_concentration", {"limit_bps": 1_000}, {}, {"equity_minor": 999_999}),
    ("max_concentration", {"limit_bps": 1_000_000}, {}, {"equity_minor": 0}),
    ("max_leverage", {"limit_bps": 10_000}, {"gross_minor": 900_000}, {"gross_minor": 900_001}),
    ("max_leverage", {"limit_bps": 10_000}, {"pending_minor": 900_000}, {"pending_minor": 900_001}),
    ("max_leverage", {"limit_bps": 1_000}, {}, {"hold_minor": 100_001}),
    ("max_leverage", {"limit_bps": 1_000_000}, {}, {"equity_minor": -1}),
    ("max_drawdown", {"limit_bps": 1_000}, {"peak_equity_minor": 1_111_111}, {"peak_equity_minor": 1_111_112}),
    ("profit_lock", {"limit": "100.00"}, {"high_equity_minor": 1_009_999}, {"high_equity_minor": 1_010_000}),
    ("stale_price", {"limit_s": 60}, {"price_age_s": 60}, {"price_age_s": 61}),
    ("stale_price", {"limit_s": 60}, {"price_age_s": -1}, {"price_age_s": None}),
    ("market_hours", {"open_only": True}, {}, {"session_open": False}),
    ("price_band", {}, {"band_lower": 1_000_000}, {"band_lower": 1_000_001}),
    ("price_band", {}, {"band_upper": 1_000_000}, {"band_upper": 999_999}),
    ("price_band", {}, {"band_upper": 1, "limit_price": None}, {"venue_halted": True, "limit_price": None}),
    ("self_trade", {"prevent": True}, {"lowest_sell": 1_000_001}, {"lowest_sell": 1_000_000}),
    ("self_trade", {"prevent": True}, {"limit_price": None}, {"lowest_sell": 10**12, "limit_price": None}),
    (
        "self_trade",
        {"prevent": True},
        {"side": Side.SELL, "highest_buy": 999_999},
        {"side": Side.SELL, "highest_buy": 1_000_000},
    ),
    ("duplicate_order", {"within_s": 5}, {"recent": ((*LIKE, 6),)}, {"recent": ((*LIKE, 5),)}),
    (
        "duplicate_order",
        {"within_s": 5},
        {"recent": (("sell", 10, 1_000_000, 1),)},
        {"recent": ((*LIKE, 9), (*LIKE, 1))},
    ),
    (
        "duplicate_order",
        {"within_s": 5},
        {"recent": (("buy", 10, None, 1), ("buy", 9, 1_000_000, 1))},
        {"recent": ((*LIKE, 1),)},
    ),
    ("order_rate", {"per_second": 10}, {"orders_this_second": 9}, {"orders_this_second": 10}),
    ("order_rate", {"per_day": 10}, {"orders_today": 9}, {"orders_today": 10}),
    (
        "order_rate",
        {"per_second": 5, "per_day": 10},
        {"orders_this_second": 0, "orders_today": 9},
        {"orders_this_second": 0, "orders_today": 10},
    ),
    (
        "order_to_trade",
        {"limit": 5, "after": 0},
        {"orders_today": 49, "fills_today": 10},
        {"orders_today": 50, "fills_today": 10},
    ),
    ("order_to_trade", {"limit": 5, "after": 10}, {"orders_today": 9}, {"orders_today": 10}),
    ("restricted_list", {"instruments": [INS]}, {"instrument_id": UUID(int=8)}, {"instrument_id": UUID(int=7)}),
    ("permissions", {"products": ["delivery"]}, {}, {"product": Product.INTRADAY}),
    ("permissions", {"segments": ["EQ"]}, {"segment": "EQ"}, {"segment": "FO"}),
    ("permissions", {"products": ["delivery"], "segments": ["EQ"]}, {"segment": "EQ"}, {"segment": None}),
    ("short_sale", {}, {"side": Side.SELL, "book_free": 10}, {"side": Side.SELL, "book_free": 9}),
]
OBEYED_BY_REDUCTIONS = {"price_collar", "price_band", "self_trade", "short_sale"}
"""What is not about taking risk: each has another way out."""


def test_every_rule_is_tried_at_its_limit() -> None:
    assert {case[0] for case in CASES} == set(rules())


@pytest.mark.parametrize(("rule", "parameters", "at_limit", "beyond"), CASES)
def test_the_limit_itself_passes_and_one_unit_more_is_denied(
    rule: str, parameters: dict[str, Any], at_limit: dict[str, Any], beyond: dict[str, Any]
) -> None:
    assert verdict(rule, parameters, **at_limit).verdict == "pass"
    denied = verdict(rule, parameters, **beyond)
    assert denied.verdict == "deny"
    assert denied.message.endswith(".")


@pytest.mark.parametrize(("rule", "parameters", "at_limit", "beyond"), CASES)
def test_reductions_pass_what_is_about_taking_risk(
    rule: str, parameters: dict[str, Any], at_limit: dict[str, Any], beyond: dict[str, Any]
) -> None:
    found = verdict(rule, parameters, **beyond | {"reduces": True})
    assert found.verdict == ("deny" if rule in OBEYED_BY_REDUCTIONS and not beyond.get("venue_halted") else "pass")


def test_a_rule_that_nobody_configured_is_silent() -> None:
    said = {found.rule for found in evaluate(BASE, {}, rules())}
    assert said == {"max_daily_loss", "max_open_orders", "max_order_value", "max_position", "price_collar"}


def test_a_sell_collar_looks_down() -> None:
    assert verdict("price_collar", {"limit_bps": 500}, side=Side.SELL, limit_price=940_000).verdict == "deny"
    assert verdict("price_collar", {"limit_bps": 500}, side=Side.SELL, limit_price=2_000_000).verdict == "pass"


def test_a_short_position_counts_by_its_size() -> None:
    short = {"side": Side.SELL, "position_quantity": -5, "open_sell": 5}
    assert verdict("max_position", {"limit": "2000.00"}, **short).verdict == "pass"
    assert verdict("max_position", {"limit": "1999.99"}, **short).verdict == "deny"


def test_findings_carry_their_figures() -> None:
    found = verdict("max_order_value", {"limit": "999.99"})
    assert (found.limit, found.value) == ("999.99", "1000.00")


quantities = st.integers(1, 10**9)


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 10**6), quantities)
def test_a_reduction_is_never_held_back_by_a_limit_on_risk(equity: int, notional: int, orders: int, held: int) -> None:
    exposure = replace(
        BASE, side=Side.SELL, book_free=held, equity_minor=equity - 10**12, notional_minor=notional, open_orders=orders,
        position_quantity=held, quantity=1, reduces=True,
    )  # fmt: skip
    tight: dict[str, dict[str, Any]] = {
        "max_order_value": {"limit": "0"},
        "max_position": {"limit": "0"},
        "max_daily_loss": {"limit": "0"},
        "max_open_orders": {"limit": 0},
    }
    assert all(finding.verdict == "pass" for finding in evaluate(exposure, limits_of(tight), rules()))


@given(quantities, quantities, st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_larger_order_is_never_better_off(one: int, other: int, held: int, open_buy: int) -> None:
    small, large = sorted((one, other))
    limits = {"max_position": {"limit": "5000000.00"}, "max_order_value": {"limit": "2500000.00"}}

    def denied(quantity: int) -> set[str]:
        exposure = replace(
            BASE, quantity=quantity, notional_minor=quantity * 10_000, position_quantity=held, open_buy=open_buy
        )
        return {finding.rule for finding in evaluate(exposure, limits_of(limits), rules()) if finding.verdict == "deny"}

    assert denied(small) <= denied(large)


@given(st.integers(1, 10**12), st.integers(1, 10**12), st.integers(0, 10_000), st.sampled_from(Side))
def test_a_collar_is_exact_in_hundredths_of_a_per_cent(last: int, limit_price: int, bps: int, side: Side) -> None:
    found = verdict("price_collar", {"limit_bps": bps}, side=side, last_price=last, limit_price=limit_price)
    worse = limit_price - last if side is Side.BUY else last - limit_price
    assert (found.verdict == "deny") == (worse * 10_000 > bps * last)


@given(
    st.sampled_from([name for name, rule in rules().items() if rule.tighter]),
    st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5)),
)
def test_a_stored_limit_that_does_not_fit_denies_entries_and_never_exits(rule: str, stored: dict[str, Any]) -> None:
    unfit = {"no such parameter": 1, **stored}
    assert verdict(rule, unfit).verdict == "deny"
    exit_ = verdict(rule, unfit, side=Side.SELL, position_quantity=10, reduces=True)
    assert (exit_.verdict, exit_.limit) == ("pass", "unreadable")


@pytest.mark.parametrize("rule", sorted(rules()))
def test_defaults_are_parameters_of_the_rule(rule: str) -> None:
    parameters = rules()[rule].Parameters
    assert parameters.model_validate(parameters().model_dump(mode="json")) == parameters()
