"""Charge schedules against worked contract notes and published rates."""

from datetime import date
from typing import Any

import pytest

from app.engine.schedule import Base, Rate, Schedule, Trade, charges, note, schedule_named, schedules
from app.kernel.errors import DomainError
from app.kernel.orders import Product, Side

TODAY = date(2026, 11, 2)


def intraday(notional: int, quantity: int, side: Side) -> Trade:
    return Trade(notional, quantity, side, Product.INTRADAY, TODAY)


def test_four_shipped_schedules_are_found() -> None:
    assert {"zero", "flat_bps", "us_equity", "nse_equity"} <= set(schedules())


def test_large_nse_intraday_round_trip_costs_200_rupees_62() -> None:
    trades = [intraday(400_000_00, 400, Side.BUY), intraday(440_000_00, 400, Side.SELL)]
    heads = note(schedule_named("nse_equity"), trades).as_dict()
    assert heads == {"brokerage": 4000, "stt": 11000, "exchange": 2579, "sebi": 84, "stamp": 1200, "gst": 1199}
    assert sum(heads.values()) == 20062


def test_small_nse_intraday_round_trip_costs_2_rupees_62() -> None:
    trades = [intraday(2066_00, 20, Side.BUY), intraday(2071_00, 20, Side.SELL)]
    heads = note(schedule_named("nse_equity"), trades).as_dict()
    assert heads == {"brokerage": 124, "stt": 100, "exchange": 13, "sebi": 0, "stamp": 0, "gst": 25}


def test_nse_delivery_pays_tax_on_both_sides_and_no_brokerage() -> None:
    schedule = schedule_named("nse_equity")
    for side in Side:
        heads = charges(
            schedule, notional=100_000_00, quantity=100, side=side, product=Product.DELIVERY, on=TODAY
        ).as_dict()
        assert heads["brokerage"] == 0
        assert heads["stt"] == 100_00
        assert heads["stamp"] == (15_00 if side is Side.BUY else 0)


def test_stt_rounds_half_rupees_up() -> None:
    schedule = schedule_named("nse_equity")
    for value, rupees in ((2080_00, 1), (10_100_00, 3), (1_999_00, 0), (2000_00, 1)):
        assert note(schedule, [intraday(value, 10, Side.SELL)]).as_dict()["stt"] == rupees * 100


def us(notional: int, quantity: int, side: Side, on: date) -> dict[str, int]:
    schedule = schedule_named("us_equity")
    return charges(schedule, notional=notional, quantity=quantity, side=side, product=Product.DELIVERY, on=on).as_dict()


def test_us_commission_has_a_minimum_and_a_cap() -> None:
    on = date(2010, 6, 1)
    assert us(10_000_00, 1000, Side.BUY, on) == {"commission": 500, "sec_fee": 0, "finra_taf": 0}
    assert us(10_000_00, 100, Side.BUY, on)["commission"] == 100
    assert us(50_00, 10, Side.BUY, on)["commission"] == 50


def test_us_fees_on_a_sale_follow_the_rate_of_the_day() -> None:
    assert us(1_000_000_00, 1000, Side.SELL, date(2008, 3, 31))["sec_fee"] == 1100
    assert us(1_000_000_00, 1000, Side.SELL, date(2008, 4, 1))["sec_fee"] == 560
    assert us(1_000_000_00, 1000, Side.SELL, date(2025, 6, 2))["sec_fee"] == 0
    assert us(1_000_000_00, 1_000_000, Side.SELL, date(2012, 7, 2))["finra_taf"] == 595
    assert us(100_00, 1000, Side.SELL, date(2000, 1, 3))["finra_taf"] == 0


def test_every_us_rate_row_ends_where_the_next_begins() -> None:
    for head in ("sec_fee", "finra_taf"):
        rows = [row for row in schedule_named("us_equity").rates if row.head == head]
        assert all(a.until == b.since for a, b in zip(rows, rows[1:], strict=False))
        assert rows[-1].until == date.max


def test_flat_is_ten_basis_points_a_side_and_zero_is_zero() -> None:
    for side in Side:
        args: dict[str, Any] = {
            "notional": 12_345_67,
            "quantity": 3,
            "side": side,
            "product": Product.DELIVERY,
            "on": TODAY,
        }
        assert charges(schedule_named("flat_bps"), **args).total == 1235
        assert charges(schedule_named("zero"), **args).total == 0


def test_fractional_units_are_charged_at_their_scale() -> None:
    schedule = Schedule("x", "x", None, {"fee": 1}, (Rate("fee", Base.UNITS, 100 * 10**9),))
    fee = charges(
        schedule, notional=1, quantity=150_000_000, side=Side.BUY, product=Product.DELIVERY, on=TODAY, qty_exp=8
    )
    assert fee.total == 150


def test_a_flat_fee_is_charged_once_per_order() -> None:
    schedule = Schedule("x", "x", None, {"fee": 1}, (Rate("fee", Base.FLAT, 20 * 10**9),))
    assert note(schedule, [intraday(1, 1, Side.BUY), intraday(1, 1, Side.SELL)]).total == 40


def test_a_time_without_rates_is_refused_not_free() -> None:
    with pytest.raises(DomainError) as refused:
        charges(
            schedule_named("nse_equity"),
            notional=1,
            quantity=1,
            side=Side.BUY,
            product=Product.DELIVERY,
            on=date(2011, 1, 3),
        )
    assert refused.value.code == "charges_unknown"


def test_an_unknown_schedule_is_not_found() -> None:
    with pytest.raises(DomainError) as missing:
        schedule_named("moon_equity")
    assert missing.value.code == "charge_schedule_not_found"


def test_a_schedule_with_a_dangling_head_does_not_load() -> None:
    with pytest.raises(ValueError, match="unknown head"):
        Schedule("x", "x", None, {"a": 1}, (Rate("b", Base.FLAT, 1),))
    with pytest.raises(ValueError, match="heads before it"):
        Schedule("x", "x", None, {"a": 1, "b": 1}, (Rate("a", Base.HEADS, 1, of=("b",)),))


def test_history_before_the_first_trade_needs_no_rates_and_changes_no_charge() -> None:
    schedule = schedule_named("nse_equity")
    begin = date(2015, 12, 1)
    lengthened = schedule.trading_from(begin)
    assert not schedule.covers(date(2012, 1, 1)) and lengthened.covers(date(2012, 1, 1))
    assert not schedule.trading_from(date(2015, 11, 1)).covers(date(2015, 11, 15))
    trade = Trade(400_000_00, 400, Side.SELL, Product.INTRADAY, begin)
    assert note(lengthened, [trade]) == note(schedule, [trade])
    assert schedule_named("zero").trading_from(begin) is schedule_named("zero")
