"""Indian charges on both sides of every day on which one changed, against notes worked out from the published rates."""

from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np
import pytest

from app.engine.bars import EPOCH, Bars
from app.engine.schedule import Base, Rate, Schedule, Trade, charges, note, schedule_named
from app.engine.tariff import rate_table
from app.kernel.errors import DomainError
from app.kernel.orders import Product, Side

CRORE = Decimal(10_000_000)
SEBI = [("2013-06-01", "20"), ("2017-04-01", "15"), ("2019-04-01", "10"), ("2020-06-01", "5"), ("2021-04-01", "10")]
SERVICES = [
    ("2013-06-01", "12.36"), ("2015-06-01", "14"), ("2015-11-15", "14.5"), ("2016-06-01", "15"), ("2017-07-01", "18"),
]  # fmt: skip
BROKERAGE = [("2013-06-01", "0.01"), ("2020-04-01", "0.03")]
GST_ON_SEBI, UNIFORM_STAMP = date(2022, 7, 18), date(2020, 7, 1)
EXERCISE = [("2019-09-01", "0.125"), ("2026-04-01", "0.15")]
FUTURES = [("2013-06-01", "0.01"), ("2023-04-01", "0.0125"), ("2024-10-01", "0.02"), ("2026-04-01", "0.05")]
OPTIONS = [
    ("2013-06-01", "0.017"), ("2016-06-01", "0.05"), ("2023-04-01", "0.0625"), ("2024-10-01", "0.1"),
    ("2026-04-01", "0.15"),
]  # fmt: skip
EQUITY = [("2015-12-01", "0.025")]

# exchange: rupees per crore with IPFT; the first entry is the first day of the schedule
HISTORY: dict[str, dict[str, Any]] = {
    "nse_equity": {
        "exchange": [("2015-12-01", "325.01"), ("2021-01-01", "345.01"), ("2023-04-01", "335"), ("2024-04-01", "332"),
                     ("2024-10-01", "307")],
        "tax": EQUITY, "stamp": "0.003",
    },
    "nse_futures": {
        "exchange": [("2013-06-01", "190.01"), ("2021-01-01", "200.01"), ("2023-04-01", "200"), ("2024-04-01", "198"),
                     ("2024-10-01", "183")],
        "tax": FUTURES, "stamp": "0.002",
    },
    "nse_options": {
        "exchange": [("2013-06-01", "5000.01"), ("2021-01-01", "5300.01"), ("2023-04-01", "5050"),
                     ("2024-04-01", "5000"), ("2024-10-01", "3553")],
        "tax": OPTIONS, "stamp": "0.003", "flat": True,
    },
    "bse_equity": {"exchange": [("2022-12-01", "375")], "tax": EQUITY, "stamp": "0.003"},
    "bse_equity_x": {"exchange": [("2016-01-01", "10000")], "tax": EQUITY, "stamp": "0.003"},
    "bse_futures": {"exchange": [("2023-05-15", "0")], "tax": FUTURES, "stamp": "0.002"},
    "bse_options": {"exchange": [("2024-10-01", "3250")], "tax": OPTIONS, "stamp": "0.003", "flat": True},
    "bse_stock_options": {"exchange": [("2023-05-15", "500")], "tax": OPTIONS, "stamp": "0.003", "flat": True},
    "nse_currency_futures": {
        "exchange": [("2023-04-01", "140"), ("2024-10-01", "85")], "tax": None, "stamp": "0.0001",
    },
    "nse_currency_options": {
        "exchange": [("2023-04-01", "3700"), ("2024-10-01", "3310")], "tax": None, "stamp": "0.0001", "flat": True,
    },
    "mcx_futures": {
        "exchange": [("2020-07-01", "260"), ("2024-10-01", "210")], "tax": [("2013-07-01", "0.01")], "stamp": "0.002",
    },
    "mcx_options": {
        "exchange": [("2021-10-01", "5000"), ("2024-10-01", "4180")], "tax": [("2018-04-01", "0.05")],
        "stamp": "0.003", "flat": True,
    },
}  # fmt: skip


def first_day(name: str) -> date:
    return date.fromisoformat(HISTORY[name]["exchange"][0][0])


def change_days(name: str) -> list[date]:
    """Every day on which a head of the schedule changed, its first day included."""
    own = HISTORY[name]
    found = {GST_ON_SEBI, UNIFORM_STAMP, first_day(name)}
    exercise = EXERCISE if own["tax"] is OPTIONS else []
    for steps in (own["exchange"], own["tax"] or [], SEBI, SERVICES, [] if own.get("flat") else BROKERAGE, exercise):
        found |= {date.fromisoformat(day) for day, _ in steps}
    return sorted(day for day in found if day >= first_day(name))


def on_day(steps: list[tuple[str, str]], day: date) -> Decimal:
    return next(Decimal(rate) for since, rate in reversed(steps) if date.fromisoformat(since) <= day)


def share(value: Decimal, percent: Decimal | str) -> Decimal:
    return value * Decimal(percent) / 100


def rounded(amount: Decimal, to: str) -> Decimal:
    return amount.quantize(Decimal(to), ROUND_HALF_UP)


def worked(name: str, day: date, product: Product, buy: Decimal, sell: Decimal) -> dict[str, Decimal]:
    """The note of one buy and one sale on `day`."""
    own, both = HISTORY[name], buy + sell
    delivery = product is Product.DELIVERY and "equity" in name
    brokerage = Decimal(40) if own.get("flat") else Decimal(0)
    if not own.get("flat") and not delivery:
        brokerage = sum((min(share(value, on_day(BROKERAGE, day)), Decimal(20)) for value in (buy, sell)), Decimal(0))
    exchange, sebi = both * on_day(own["exchange"], day) / CRORE, both * on_day(SEBI, day) / CRORE
    if day >= UNIFORM_STAMP:
        stamp = share(buy, "0.015" if delivery else own["stamp"])
    else:
        stamp = share(both, "0.01" if delivery else "0.002")
    found = {"brokerage": rounded(brokerage, "0.01")}
    if own["tax"]:
        tax = share(both, "0.1") if delivery else share(sell, on_day(own["tax"], day))
        found["stt" if name.startswith(("nse", "bse")) else "ctt"] = rounded(tax, "1")
    taxed = brokerage + exchange + (sebi if day >= GST_ON_SEBI else 0)
    return found | {
        "exchange": rounded(exchange, "0.01"),
        "sebi": rounded(sebi, "0.01"),
        "stamp": rounded(stamp, "1"),
        "gst": rounded(share(taxed, on_day(SERVICES, day)), "0.01"),
    }


CASES = [
    (name, day)
    for name in HISTORY
    for change in change_days(name)
    for day in (change - timedelta(days=1), change)
    if day >= first_day(name)
]


@pytest.mark.parametrize(("name", "day"), CASES)
@pytest.mark.parametrize("product", [Product.DELIVERY, Product.INTRADAY])
@pytest.mark.parametrize(("buy", "sell"), [("612500.00", "618750.00"), ("40833.35", "52066.65")])
def test_a_note_follows_the_rates_of_its_day(name: str, day: date, product: Product, buy: str, sell: str) -> None:
    trades = [
        Trade(int(Decimal(value) * 100), 25, side, product, day) for value, side in ((buy, Side.BUY), (sell, Side.SELL))
    ]
    found = note(schedule_named(name), trades).as_dict()
    wanted = worked(name, day, product, Decimal(buy), Decimal(sell))
    assert {head: Decimal(minor) / 100 for head, minor in found.items()} == wanted


@pytest.mark.parametrize("name", [name for name, own in HISTORY.items() if own["tax"] is OPTIONS])
def test_an_exercised_option_pays_tax_on_its_worth_and_nothing_else(name: str) -> None:
    for day in change_days(name):
        trade = Trade(1_234_500_00, 75, Side.SELL, Product.DELIVERY, day, exercise=True)
        found = note(schedule_named(name), [trade]).as_dict()
        due = Decimal(0)
        if day >= date(2019, 9, 1):
            due = rounded(share(Decimal(1_234_500), on_day(EXERCISE, day)), "1")
        assert Decimal(found.pop("stt")) / 100 == due
        assert not any(found.values())


@pytest.mark.parametrize("name", HISTORY)
def test_every_change_of_a_schedule_is_one_that_the_test_knows(name: str) -> None:
    schedule = schedule_named(name)
    starts = {row.since for row in schedule.rates} | {row.until for row in schedule.rates if row.until != date.max}
    assert starts <= set(change_days(name)) | {first_day(name)}


@pytest.mark.parametrize("name", HISTORY)
def test_what_was_charged_before_the_sources_begin_is_not_invented(name: str) -> None:
    early = first_day(name) - timedelta(days=1)
    with pytest.raises(DomainError, match=f"no rates for {early}"):
        charges(schedule_named(name), notional=1000, quantity=1, side=Side.BUY, product=Product.INTRADAY, on=early)


@pytest.mark.parametrize("name", HISTORY)
def test_every_head_has_one_rate_on_every_day_for_every_side_and_product(name: str) -> None:
    schedule = schedule_named(name)
    for day in change_days(name):
        for side in Side:
            for product in Product:
                rows = [row.head for row in schedule.rates if row.applies(side, product, day)]
                assert len(rows) == len(set(rows))
                assert {"exchange", "sebi", "gst"} <= set(rows)


def bars_on(days: list[date]) -> Bars:
    numbers = np.array([day.toordinal() - EPOCH for day in days], np.int64)
    shape = len(days)
    return Bars(numbers * 86_400_000_000, numbers, np.ones((5, 1, shape), np.int64), np.ones((1, shape), np.uint8))


def compiled_totals(schedule: Schedule, bars: Bars, day: date, seed: int) -> list[tuple[int, int]]:
    from app.engine.kernels.charging import charge

    rates, units = rate_table(schedule, "INR", bars)
    amounts = np.zeros(len(units), np.int64)
    random = np.random.default_rng(seed)
    found = []
    for _ in range(12):
        notional = int(10 ** random.uniform(0, 12))
        side, product = list(Side)[random.integers(2)], list(Product)[random.integers(2)]
        number = day.toordinal() - EPOCH
        for exercise in (False, True):
            plain = note(schedule, [Trade(notional, 5, side, product, day, exercise=exercise)]).total
            sign = 0 if exercise else side.sign
            total = charge(rates, units, notional, 5, 1, sign, list(Product).index(product), number, amounts)
            found.append((total, plain))
    return found


@pytest.mark.parametrize("name", HISTORY)
def test_compiled_and_plain_charges_agree_on_both_sides_of_every_change(name: str) -> None:
    schedule = schedule_named(name)
    days = sorted({day for known, day in CASES if known == name})
    whole = bars_on(days)
    for seed, day in enumerate(days):
        for bars in (whole, bars_on([day])):  # a table holds the rates of its bars' dates only
            assert all(total == plain for total, plain in compiled_totals(schedule, bars, day, seed))


def test_a_table_leaves_out_the_rates_of_other_times() -> None:
    schedule = schedule_named("nse_equity")
    lately, _ = rate_table(schedule, "INR", bars_on([date(2026, 11, 2)]))
    ever, _ = rate_table(schedule, "INR", bars_on([date(2015, 12, 1), date(2026, 11, 2)]))
    assert len(lately) == 8
    assert len(ever) == len(schedule.rates)


def test_a_table_covers_days_of_several_rates_and_no_days_at_all() -> None:
    change = date(2020, 6, 1)
    rates = tuple(Rate("tax", Base.NOTIONAL, 1, since=since, until=until) for since, until in (
        (date(2020, 1, 1), change), (change, date(2021, 1, 1)),
    ))  # fmt: skip
    schedule = Schedule("x", "x", None, {"tax": 1}, rates)

    def bars(*days: date) -> Bars:
        rows = len(days)
        numbers = np.array([one.toordinal() - EPOCH for one in days], np.int64)
        return Bars(numbers * 86_400_000_000, numbers, np.ones((5, 1, rows), np.int64), np.ones((1, rows), np.uint8))

    for covered in (bars(change - timedelta(1), change), bars(change), bars()):
        rate_table(schedule, "INR", covered)
    for missing in (bars(date(2019, 12, 31)), bars(date(2020, 12, 31), date(2021, 1, 1))):
        with pytest.raises(DomainError, match="has no rates"):
            rate_table(schedule, "INR", missing)
