"""Indian derivative, BSE, currency and commodity schedules against notes worked out by hand from published rates."""

from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np
import pytest

from app.engine.bars import Bars
from app.engine.columns import RATE_COLUMNS
from app.engine.schedule import Trade, charges, note, schedule_named, schedules
from app.engine.tariff import rate_table
from app.kernel.orders import Product, Side

ON = date(2026, 11, 2)
DAY = ON.toordinal() - date(1970, 1, 1).toordinal()
CRORE = Decimal(10_000_000)


def rupees(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal(1), ROUND_HALF_UP)


def paise(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)


def expected(rates: dict[str, Any], buy: Decimal, sell: Decimal) -> dict[str, Decimal]:
    """A day's note of one buy and one sale, from the rates as they are published."""
    both = buy + sell
    brokerage = Decimal(40)
    if not rates["flat"]:
        brokerage = sum((min(value * Decimal("0.0003"), Decimal(20)) for value in (buy, sell)), Decimal(0))
    exchange, sebi = both * Decimal(rates["crore"]) / CRORE, both * 10 / CRORE
    found = {"brokerage": paise(brokerage)}
    if rates["tax"]:
        found[rates["tax"]] = rupees(sell * Decimal(rates["tax_percent"]) / 100)
    return found | {
        "exchange": paise(exchange),
        "sebi": paise(sebi),
        "stamp": rupees(buy * Decimal(rates["stamp_percent"]) / 100),
        "gst": paise((brokerage + exchange + sebi) * Decimal("0.18")),
    }


PUBLISHED: dict[str, dict[str, Any]] = {
    "nse_futures": {"flat": False, "crore": "183", "tax": "stt", "tax_percent": "0.05", "stamp_percent": "0.002"},
    "nse_options": {"flat": True, "crore": "3553", "tax": "stt", "tax_percent": "0.15", "stamp_percent": "0.003"},
    "bse_futures": {"flat": False, "crore": "0", "tax": "stt", "tax_percent": "0.05", "stamp_percent": "0.002"},
    "bse_options": {"flat": True, "crore": "3250", "tax": "stt", "tax_percent": "0.15", "stamp_percent": "0.003"},
    "nse_currency_futures": {"flat": False, "crore": "85", "tax": None, "stamp_percent": "0.0001"},
    "nse_currency_options": {"flat": True, "crore": "3310", "tax": None, "stamp_percent": "0.0001"},
    "mcx_futures": {"flat": False, "crore": "210", "tax": "ctt", "tax_percent": "0.01", "stamp_percent": "0.002"},
    "mcx_options": {"flat": True, "crore": "4180", "tax": "ctt", "tax_percent": "0.05", "stamp_percent": "0.003"},
    "bse_equity": {"flat": False, "crore": "375", "tax": "stt", "tax_percent": "0.025", "stamp_percent": "0.003"},
    "bse_equity_x": {"flat": False, "crore": "10000", "tax": "stt", "tax_percent": "0.025", "stamp_percent": "0.003"},
    "bse_stock_options": {"flat": True, "crore": "500", "tax": "stt", "tax_percent": "0.15", "stamp_percent": "0.003"},
}


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize(("buy", "sell"), [("612500.00", "618750.00"), ("1833.35", "2066.65"), ("40", "1000")])
def test_a_day_costs_what_the_published_rates_say(name: str, buy: str, sell: str) -> None:
    trades = [
        Trade(int(Decimal(value) * 100), 25, side, Product.INTRADAY, ON)
        for value, side in ((buy, Side.BUY), (sell, Side.SELL))
    ]
    found = note(schedule_named(name), trades).as_dict()
    wanted = expected(PUBLISHED[name], Decimal(buy), Decimal(sell))
    assert {head: Decimal(minor) / 100 for head, minor in found.items()} == wanted
    assert list(found) == list(wanted)


@pytest.mark.parametrize("name", [name for name, rates in PUBLISHED.items() if not rates["flat"]])
def test_brokerage_is_capped_at_twenty_rupees_an_order(name: str) -> None:
    for notional, minor in ((66_666_66, 2000), (66_600_00, 1998), (10_000_000_00, 2000)):
        heads = charges(
            schedule_named(name), notional=notional, quantity=1, side=Side.BUY, product=Product.INTRADAY, on=ON
        ).as_dict()
        assert heads["brokerage"] == minor


def test_a_per_share_broker_has_a_minimum() -> None:
    for shares, minor in ((1, 100), (200, 100), (201, 101), (1000, 500)):
        heads = charges(
            schedule_named("per_share"),
            notional=10**6,
            quantity=shares,
            side=Side.SELL,
            product=Product.DELIVERY,
            on=ON,
        ).as_dict()
        assert heads == {"commission": minor}


@pytest.mark.parametrize("name", sorted(schedules()))
def test_compiled_and_plain_charges_are_the_same_integers(name: str) -> None:
    from app.engine.kernels.charging import charge

    schedule = schedule_named(name)
    days = np.array([DAY], np.int64)
    bars = Bars(days * 86_400_000_000, days, np.ones((5, 1, 1), np.int64), np.ones((1, 1), np.uint8))
    rates, units = rate_table(schedule, schedule.currency or "INR", bars)
    assert rates.shape[1] == RATE_COLUMNS
    amounts = np.zeros(len(units), np.int64)
    random = np.random.default_rng(3)
    for _ in range(400):
        quantity, notional = int(random.integers(1, 10**5)), int(10 ** random.uniform(0, 12))
        side, product = list(Side)[random.integers(2)], list(Product)[random.integers(2)]
        plain = charges(schedule, notional=notional, quantity=quantity, side=side, product=product, on=ON)
        total = charge(rates, units, notional, quantity, 1, side.sign, list(Product).index(product), DAY, amounts)
        assert total == plain.total
        assert amounts.tolist() == list(plain.as_dict().values())
