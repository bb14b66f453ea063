"""Amounts are exact: every rounding agrees with Decimal's, text round-trips, a notional is rounded once."""

import decimal
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.kernel.errors import DomainError, Kind
from app.kernel.money import (
    CURRENCY_EXPONENT,
    INT64_MAX,
    Money,
    Rounding,
    currency_exponent,
    divide,
    format_scaled,
    format_trimmed,
    notional_minor,
    parse_scaled,
)

DECIMALS = {
    Rounding.HALF_UP: decimal.ROUND_HALF_UP,
    Rounding.DOWN: decimal.ROUND_DOWN,
    Rounding.UP: decimal.ROUND_UP,
    Rounding.FLOOR: decimal.ROUND_FLOOR,
    Rounding.CEILING: decimal.ROUND_CEILING,
}
EXACT = decimal.Context(prec=200)
int64 = st.integers(-INT64_MAX, INT64_MAX)
exponents = st.integers(0, 9)
amounts = st.builds(Money, st.integers(-(10**12), 10**12), st.sampled_from(sorted(CURRENCY_EXPONENT)))


def test_every_rounding_has_a_counterpart_of_decimal() -> None:
    assert set(DECIMALS) == set(Rounding)


@pytest.mark.parametrize("rounding", Rounding)
@given(numerator=st.integers(-(10**30), 10**30), denominator=st.integers(1, 10**20))
@example(numerator=-1, denominator=2)
@example(numerator=1, denominator=2)
@example(numerator=-3, denominator=2)
@example(numerator=0, denominator=7)
@example(numerator=-7, denominator=7)
def test_divide_rounds_as_decimal_does(rounding: Rounding, numerator: int, denominator: int) -> None:
    whole, rest = divmod(abs(numerator), denominator)
    half = (2 * rest > denominator) - (2 * rest < denominator)
    # the quotient is rarely finite in decimal: the same integer part, and a fraction on the same side of one half
    digits = "0" if rest == 0 else {-1: "25", 0: "5", 1: "75"}[half]
    like = Decimal(f"{'-' if numerator < 0 else ''}{whole}.{digits}")
    expected = int(like.quantize(Decimal(1), rounding=DECIMALS[rounding], context=EXACT))
    assert divide(numerator, denominator, rounding) == expected


@pytest.mark.parametrize("rounding", Rounding)
@given(numerator=st.integers(-(10**30), 10**30), denominator=st.integers(1, 10**20))
def test_divide_is_off_by_less_than_one(rounding: Rounding, numerator: int, denominator: int) -> None:
    error = abs(Fraction(numerator, denominator) - divide(numerator, denominator, rounding))
    assert error <= Fraction(1, 2) if rounding is Rounding.HALF_UP else error < 1


@given(numerator=st.integers(), denominator=st.integers(1, 10**9))
def test_rounding_a_debt_mirrors_rounding_a_claim(numerator: int, denominator: int) -> None:
    for rounding in (Rounding.HALF_UP, Rounding.UP, Rounding.DOWN):
        assert divide(-numerator, denominator, rounding) == -divide(numerator, denominator, rounding)
    assert divide(-numerator, denominator, Rounding.FLOOR) == -divide(numerator, denominator, Rounding.CEILING)


@pytest.mark.parametrize("denominator", [0, -1])
def test_a_denominator_must_be_positive(denominator: int) -> None:
    with pytest.raises(ValueError, match="positive"):
        divide(1, denominator, Rounding.DOWN)


@given(number=int64, exponent=exponents)
def test_text_round_trips(number: int, exponent: int) -> None:
    text = format_scaled(number, exponent)
    assert parse_scaled(text, exponent, param="x") == number
    assert Decimal(text) == Decimal(number).scaleb(-exponent, context=EXACT)
    assert len(text.partition(".")[2]) == exponent


@given(number=int64, exponent=exponents, places=st.integers(0, 9))
def test_trimming_keeps_the_value(number: int, exponent: int, places: int) -> None:
    text = format_trimmed(number, exponent, places=places)
    assert Decimal(text) == Decimal(format_scaled(number, exponent))
    decimals = text.partition(".")[2]
    assert len(decimals) <= max(places, 0) or not decimals.endswith("0")
    assert len(decimals) >= min(places, exponent)


@given(
    number=st.integers(-(10**15), 10**15).filter(lambda number: number % 10 != 0),
    exponent=st.integers(1, 9),
    fewer=st.integers(1, 9),
)
def test_text_finer_than_the_scale_is_refused_not_rounded(number: int, exponent: int, fewer: int) -> None:
    coarse = max(0, exponent - fewer)
    with pytest.raises(DomainError) as caught:
        parse_scaled(format_scaled(number, exponent), coarse, param="price")
    assert (caught.value.code, caught.value.kind, caught.value.param) == ("too_precise", Kind.INVALID, "price")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "invalid_decimal"),
        ("twelve", "invalid_decimal"),
        ("1,5", "invalid_decimal"),
        ("1_000", "invalid_decimal"),
        (" 1", "invalid_decimal"),
        ("1\n", "invalid_decimal"),
        ("\uff11", "invalid_decimal"),
        ("0x10", "invalid_decimal"),
        ("NaN", "invalid_decimal"),
        ("sNaN", "invalid_decimal"),
        ("Infinity", "invalid_decimal"),
        ("-inf", "invalid_decimal"),
        ("1" * 5000, "invalid_decimal"),
        ("1" * 1000, "out_of_range"),
        ("1e400", "out_of_range"),
        ("1e999999999", "out_of_range"),
        ("92233720368547758.08", "out_of_range"),
        ("-92233720368547758.08", "out_of_range"),
        ("0.001", "too_precise"),
        ("1e-999999999", "too_precise"),
        ("1.0000000000000000000000000000000000001", "too_precise"),
    ],
)
def test_text_that_is_no_exact_amount_is_refused_with_a_code(text: str, code: str) -> None:
    with pytest.raises(DomainError) as caught:
        parse_scaled(text, 2, param="amount")
    assert (caught.value.code, caught.value.kind, caught.value.param) == (code, Kind.INVALID, "amount")


@pytest.mark.parametrize(
    ("text", "number"),
    [("12.5", 1250), ("+12.50", 1250), ("-0.01", -1), ("0012.500", 1250), ("1.25e2", 12_500), ("0e-999999999", 0)],
)
def test_every_exact_spelling_is_the_same_amount(text: str, number: int) -> None:
    assert parse_scaled(text, 2, param="amount") == number


@given(
    text=st.one_of(
        st.text(max_size=40), st.from_regex(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?(e[+-]?[0-9]{1,2})?", fullmatch=True)
    )
)
def test_any_text_is_an_amount_or_a_refusal(text: str) -> None:
    try:
        number = parse_scaled(text, 4, param="x")
    except DomainError as refusal:
        assert refusal.kind is Kind.INVALID
    else:
        assert abs(number) <= INT64_MAX
        assert Decimal(text).scaleb(4, context=EXACT) == number


@given(
    quantity=st.integers(-(10**12), 10**12),
    price=st.integers(-(10**12), 10**12),
    qty_exp=exponents,
    price_exp=exponents,
    money_exp=st.integers(0, 8),
)
def test_a_notional_is_rounded_once_half_up(
    quantity: int, price: int, qty_exp: int, price_exp: int, money_exp: int
) -> None:
    exact = EXACT.multiply(
        Decimal(quantity).scaleb(-qty_exp, context=EXACT), Decimal(price).scaleb(-price_exp, context=EXACT)
    )
    rounded = exact.quantize(Decimal(1).scaleb(-money_exp), rounding=decimal.ROUND_HALF_UP, context=EXACT)
    found = notional_minor(quantity, price, qty_exp=qty_exp, price_exp=price_exp, money_exp=money_exp)
    assert Decimal(found).scaleb(-money_exp, context=EXACT) == rounded


def test_a_notional_of_shares_in_dollars() -> None:
    assert notional_minor(3, 12_3450, qty_exp=0, price_exp=4, money_exp=2) == 3704  # 37.035 rounds up
    assert notional_minor(-3, 12_3450, qty_exp=0, price_exp=4, money_exp=2) == -3704


@given(left=amounts, right=amounts)
def test_money_adds_and_subtracts_within_a_currency_only(left: Money, right: Money) -> None:
    if left.currency == right.currency:
        assert left + right - right == left
        assert left - right == -(right - left)
    else:
        with pytest.raises(ValueError, match="cannot combine"):
            left + right
        with pytest.raises(ValueError, match="cannot combine"):
            left - right


def test_money_prints_with_its_currency() -> None:
    assert str(Money(-5, "INR")) == "-0.05 INR"
    assert str(Money(10_000_000, "USD")) == "100000.00 USD"


def test_an_unknown_currency_is_named_with_the_known_ones() -> None:
    with pytest.raises(DomainError, match="'XXX' is not supported; use one of INR, USD") as caught:
        currency_exponent("XXX")
    assert caught.value.code == "unknown_currency"
