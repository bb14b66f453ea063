"""The five rules: exact at their limits, monotone, and never in the way of getting out."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kernel.orders import OrderType, Side
from app.trading.risk.domain import Exposure, Finding, evaluate
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


def verdict(rule: str, parameters: dict[str, Any], **changes: Any) -> Finding:
    found = evaluate(replace(BASE, **changes), {rule: parameters}, {rule: rules()[rule]})
    return found[0]


def test_the_five_rules_are_found() -> None:
    assert list(rules()) == ["max_daily_loss", "max_open_orders", "max_order_value", "max_position", "price_collar"]


@pytest.mark.parametrize(
    ("rule", "parameters", "at_limit", "beyond"),
    [
        ("max_order_value", {"limit": "1000.00"}, {}, {"notional_minor": 100_001}),
        ("max_position", {"limit": "1000.00"}, {}, {"open_buy": 1}),
        ("max_position", {"limit": "2000.00"}, {"position_quantity": 10}, {"position_quantity": 11}),
        ("max_daily_loss", {"limit": "100.00"}, {"equity_minor": 990_000}, {"equity_minor": 989_999}),
        ("max_open_orders", {"limit": 3}, {"open_orders": 2}, {"open_orders": 3}),
        ("price_collar", {"limit_bps": 500}, {"limit_price": 1_050_000}, {"limit_price": 1_050_001}),
        ("price_collar", {"limit_bps": 500}, {"limit_price": 100}, {"last_price": None}),
    ],
)
def test_the_limit_itself_passes_and_one_unit_more_is_denied(
    rule: str, parameters: dict[str, Any], at_limit: dict[str, Any], beyond: dict[str, Any]
) -> None:
    assert verdict(rule, parameters, **at_limit).verdict == "pass"
    denied = verdict(rule, parameters, **beyond)
    assert denied.verdict == "deny"
    assert denied.message.endswith(".")


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
        BASE, side=Side.SELL, equity_minor=equity - 10**12, notional_minor=notional, open_orders=orders,
        position_quantity=held, quantity=1, reduces=True,
    )  # fmt: skip
    tight: dict[str, dict[str, Any]] = {
        "max_order_value": {"limit": "0"},
        "max_position": {"limit": "0"},
        "max_daily_loss": {"limit": "0"},
        "max_open_orders": {"limit": 0},
    }
    assert all(finding.verdict == "pass" for finding in evaluate(exposure, tight, rules()))


@given(quantities, quantities, st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_larger_order_is_never_better_off(one: int, other: int, held: int, open_buy: int) -> None:
    small, large = sorted((one, other))
    limits = {"max_position": {"limit": "5000000.00"}, "max_order_value": {"limit": "2500000.00"}}

    def denied(quantity: int) -> set[str]:
        exposure = replace(
            BASE, quantity=quantity, notional_minor=quantity * 10_000, position_quantity=held, open_buy=open_buy
        )
        return {finding.rule for finding in evaluate(exposure, limits, rules()) if finding.verdict == "deny"}

    assert denied(small) <= denied(large)


@given(st.integers(1, 10**12), st.integers(1, 10**12), st.integers(0, 10_000), st.sampled_from(Side))
def test_a_collar_is_exact_in_hundredths_of_a_per_cent(last: int, limit_price: int, bps: int, side: Side) -> None:
    found = verdict("price_collar", {"limit_bps": bps}, side=side, last_price=last, limit_price=limit_price)
    worse = limit_price - last if side is Side.BUY else last - limit_price
    assert (found.verdict == "deny") == (worse * 10_000 > bps * last)


@given(st.sampled_from(sorted(rules())), st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5)))
def test_a_stored_limit_that_does_not_fit_denies_entries_and_never_exits(rule: str, stored: dict[str, Any]) -> None:
    unfit = {"no such parameter": 1, **stored}
    assert verdict(rule, unfit).verdict == "deny"
    exit_ = verdict(rule, unfit, side=Side.SELL, position_quantity=10, reduces=True)
    assert (exit_.verdict, exit_.limit) == ("pass", "unreadable")


@pytest.mark.parametrize("rule", sorted(rules()))
def test_defaults_are_parameters_of_the_rule(rule: str) -> None:
    parameters = rules()[rule].Parameters
    assert parameters.model_validate(parameters().model_dump(mode="json")) == parameters()
