"""Ticks, lots and freeze quantities: what is refused, and what the refusal says."""

import csv

import pytest

from app.kernel.errors import DomainError, Kind
from app.kernel.instrument import TradingRules
from app.market.instruments.domain import check_price, check_quantity
from app.market.instruments.service import load_instruments
from app.market.instruments.service.seeding import LIBRARY

PENNY = TradingRules(tick=100, lot=1, freeze_quantity=None)


def refused(code: str, call: object, *arguments: object, **options: object) -> DomainError:
    with pytest.raises(DomainError) as caught:
        call(*arguments, **options)  # type: ignore[operator]
    assert (caught.value.code, caught.value.kind) == (code, Kind.INVALID)
    return caught.value


def test_a_price_on_the_tick_passes() -> None:
    check_price(123_400, PENNY, price_exp=4)


def test_a_price_off_the_tick_is_refused_with_its_neighbours() -> None:
    error = refused("off_tick", check_price, 123_450, PENNY, price_exp=4)
    assert error.param == "limit_price"
    assert "12.34 or 12.35" in error.message


def test_below_one_tick_only_the_tick_itself_is_offered() -> None:
    error = refused("off_tick", check_price, 1, PENNY, price_exp=4)
    assert error.message.endswith("use 0.01.")


def test_sixteenths_are_a_tick_like_any_other() -> None:
    check_price(1_180_625, TradingRules(625, 1, None), price_exp=4)
    refused("off_tick", check_price, 1_180_100, TradingRules(625, 1, None), price_exp=4)


@pytest.mark.parametrize("price", [0, -100])
def test_a_price_must_be_positive(price: int) -> None:
    refused("invalid_price", check_price, price, PENNY, price_exp=4)


@pytest.mark.parametrize(("quantity", "code"), [(0, "invalid_quantity"), (-65, "invalid_quantity"), (66, "off_lot")])
def test_a_quantity_is_a_positive_multiple_of_the_lot(quantity: int, code: str) -> None:
    refused(code, check_quantity, quantity, TradingRules(5, 65, 1800), qty_exp=0)


def test_the_freeze_quantity_itself_passes_and_one_lot_more_does_not() -> None:
    rules = TradingRules(5, 60, 1800)
    check_quantity(1800, rules, qty_exp=0)
    refused("above_freeze", check_quantity, 1860, rules, qty_exp=0)


def luhn_of_isin(isin: str) -> bool:
    digits = [int(d) for c in isin for d in str(int(c, 36))]
    doubled = [d * 2 if i % 2 else d for i, d in enumerate(reversed(digits))]
    return sum(d // 10 + d % 10 for d in doubled) % 10 == 0


def test_every_seeded_isin_has_a_valid_check_digit() -> None:
    assert [i["isin"] for i in load_instruments().values() if not luhn_of_isin(i["isin"])] == []


def test_every_seeded_instrument_has_rules_without_gap_or_overlap() -> None:
    with (LIBRARY / "rules.csv").open() as file:
        rules = list(csv.DictReader(file))
    for symbol, venue in load_instruments():
        own = [r for r in rules if (r["symbol"], r["venue"]) == (symbol, venue)]
        assert own, f"{symbol} has no rules"
        assert own[-1]["valid_to"] == ""
        assert [r["valid_to"] for r in own[:-1]] == [r["valid_from"] for r in own[1:]]
