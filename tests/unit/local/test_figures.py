"""What `--check` accepts, and what it says when it does not."""

from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from rich.console import Console

from app.local.figures import (
    Change,
    Holding,
    StrategyFigures,
    Summary,
    broken_invariants,
    failures,
    market_value,
    money,
    reduced,
    report,
)
from app.local.home import Credentials
from app.local.screen import addresses, picture

MOMENTUM = StrategyFigures(
    name="momentum", status="running", currency="USD", orders=5, resting=1, moving=0, fills=3, denied=1,
    cash=4_000_000, market_value=6_100_000, equity=10_100_000,
    positions=(("AAPL", "120"),), positions_from_fills=(("AAPL", "120"),),
)  # fmt: skip
REVERSION = replace(MOMENTUM, name="mean_reversion", positions=(), positions_from_fills=())
GOOD = Summary(
    market_at=datetime(2003, 5, 6, 20, tzinfo=UTC),
    feed_status="running",
    bars=1234,
    strategies=(MOMENTUM, REVERSION),
    ledger={"USD": 0},
    denials={"max_order_value": 2},
)


def with_momentum(**changes: object) -> Summary:
    return replace(GOOD, strategies=(replace(MOMENTUM, **changes), REVERSION))  # type: ignore[arg-type]


def test_a_sound_run_passes() -> None:
    assert GOOD.trading
    assert GOOD.settled
    assert failures(GOOD, waited_s=1) == []
    assert report(GOOD, [], seconds={"ready": 1.234})["ok"] is True


@pytest.mark.parametrize(
    ("summary", "said"),
    [
        (replace(GOOD, ledger={"USD": 0, "INR": 1}), "entries in INR sum to 1"),
        (replace(GOOD, drifted=1), "1 accounts hold another balance"),
        (with_momentum(positions=(("AAPL", "121"),)), "differ from those of its fills"),
        (with_momentum(equity=10_100_001), "equity 10100001 is not cash 4000000"),
        (with_momentum(fills=0), "no order has filled"),
        (with_momentum(moving=2), "2 orders are neither terminal nor resting"),
        (replace(GOOD, strategies=()), "no strategy is deployed"),
    ],
)
def test_each_fault_fails_the_check_and_is_named(summary: Summary, said: str) -> None:
    found = failures(summary, waited_s=1)
    assert len(found) == 1
    assert said in found[0]
    assert report(summary, found, seconds={})["ok"] is False


def test_orders_under_way_break_no_invariant_of_the_books() -> None:
    moving = with_momentum(moving=2)
    assert broken_invariants(moving) == []
    assert not moving.settled


def test_a_strategy_without_fills_is_not_yet_trading() -> None:
    assert not with_momentum(fills=0).trading
    assert not Summary().trading


def test_a_paused_strategy_without_a_fill_is_not_waited_for() -> None:
    assert with_momentum(fills=0, status="paused").stalled
    assert not with_momentum(fills=0).stalled
    assert not with_momentum(fills=1, status="paused").stalled


def test_the_picture_shows_what_a_newcomer_needs() -> None:
    console = Console(file=StringIO(), width=160)
    services: list[dict[str, Any]] = [
        {"name": "worker", "pid": None, "restarts": 2},
        {"name": "gateway", "pid": 7, "restarts": 0},
    ]
    key = Credentials(tenant_id="t", api_key="sk_test_in1_abc_def")
    console.print(addresses("http://127.0.0.1:8000", key))
    console.print(picture(GOOD, services))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for text in (
        "momentum", "mean_reversion", "101,000.00 USD", "AAPL 120", "1,234", "2003-05-06", "max_order_value 2",
        "balances to zero", "http://127.0.0.1:8000/docs", "sk_test_in1_abc_def", "starting again", "Ctrl-C",
    ):  # fmt: skip
        assert text in shown, text


def test_a_plain_terminal_shows_all_of_it() -> None:
    console = Console(file=StringIO(), width=80)
    services: list[dict[str, Any]] = [
        {"name": name, "pid": 12345, "restarts": 0} for name in ("postgres", "valkey", "gateway", "worker", "daemon")
    ]
    first, *others = GOOD.strategies
    holds = (("AAPL", "120"), ("GOOG", "33"), ("IBM", "118"), ("MSFT", "402"))
    much = replace(first, orders=12_345, fills=12_340, positions=holds)
    console.print(picture(replace(GOOD, strategies=(much, *others)), services))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in shown and "AAPL 120, GOOG 33, IBM 118, MSFT 402" in shown and "12345" in shown
    assert len(shown.splitlines()) < 24


@pytest.mark.parametrize(("minor", "text"), [(123_456_789, "1,234,567.89 USD"), (-5, "-0.05 USD"), (0, "0.00 USD")])
def test_amounts_read_well(minor: int, text: str) -> None:
    assert money(minor, "USD") == text


def test_a_broken_ledger_is_shown_as_broken() -> None:
    console = Console(file=StringIO(), width=160)
    console.print(picture(replace(GOOD, ledger={"USD": 5}), []))
    assert "sum to 5, not to zero" in console.file.getvalue()  # type: ignore[attr-defined]


ACCOUNT, BOOK, STOCK = (UUID(int=number) for number in (1, 2, 3))
HELD = BOOK, STOCK, "delivery"


def test_a_position_is_the_reduction_of_its_fills_and_splits_in_order() -> None:
    changes = [
        Change(ACCOUNT, BOOK, STOCK, "delivery", 101),
        Change(ACCOUNT, BOOK, STOCK, "delivery", 0, 3, 2),  # 151 and a half: the half is paid in cash
        Change(ACCOUNT, BOOK, STOCK, "delivery", -51),
    ]
    assert reduced(changes) == {HELD: 100}
    assert reduced([changes[0], changes[2], changes[1]]) == {HELD: 75}


def test_a_short_position_splits_into_whole_units_too() -> None:
    split = Change(ACCOUNT, BOOK, STOCK, "delivery", 0, 3, 2)
    assert reduced([replace(split, quantity=-5, numerator=1, denominator=1), split]) == {HELD: -7}


def test_delivery_and_intraday_are_positions_apart_and_split_apart() -> None:
    long, short = Change(ACCOUNT, BOOK, STOCK, "delivery", 5), Change(ACCOUNT, BOOK, STOCK, "intraday", -3)
    splits = [replace(one, quantity=0, numerator=3, denominator=2) for one in (long, short)]
    assert reduced([long, short, *splits]) == {HELD: 7, (BOOK, STOCK, "intraday"): -4}


@pytest.mark.parametrize(("price", "worth"), [(10_005, 300), (10_050, 302), (None, 299)])
def test_a_holding_is_worth_its_last_price_rounded_once_or_its_cost(price: int | None, worth: int) -> None:
    holding = Holding(ACCOUNT, BOOK, STOCK, "delivery", 3, 299, "AAPL", "USD", 4, 0, price)
    assert market_value(holding) == worth
