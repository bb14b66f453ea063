"""Decides how amounts are held: int64 at a fixed exponent. Decimal and text only at the edges; never a float."""

import re
from dataclasses import dataclass
from enum import StrEnum

from app.kernel.errors import invalid

INT64_MAX = 2**63 - 1
CURRENCY_EXPONENT: dict[str, int] = {"INR": 2, "USD": 2}
"""Decimal places of one minor unit, by ISO 4217 code."""

_INT64_DIGITS = 19
_DECIMAL = re.compile(r"([+-]?)([0-9]{1,1000})(?:\.([0-9]{1,1000}))?(?:[eE]([+-]?[0-9]{1,9}))?")
"""Read without `Decimal`, which rounds what is beyond its precision, turns 1e-999999999 into 0, and takes `1_0`."""


class Rounding(StrEnum):
    HALF_UP = "half_up"  # away from zero at exactly one half
    DOWN = "down"  # towards zero
    UP = "up"  # away from zero
    FLOOR = "floor"
    CEILING = "ceiling"


def divide(numerator: int, denominator: int, rounding: Rounding) -> int:
    """The integer nearest to `numerator / denominator` under `rounding`. `denominator` must be positive."""
    if denominator <= 0:
        raise ValueError("denominator must be positive")
    floor, remainder = numerator // denominator, numerator % denominator
    if remainder == 0:
        return floor
    match rounding:
        case Rounding.FLOOR:
            return floor
        case Rounding.CEILING:
            return floor + 1
        case Rounding.DOWN:
            return floor if numerator > 0 else floor + 1
        case Rounding.UP:
            return floor + 1 if numerator > 0 else floor
        case Rounding.HALF_UP:
            twice = 2 * remainder
            if twice == denominator:
                return floor + 1 if numerator > 0 else floor
            return floor + 1 if twice > denominator else floor


def parse_scaled(text: str, exponent: int, *, param: str) -> int:
    """The integer that `text` (a decimal such as `12.50` or `1e-5`) is at 10^-exponent. Refuses what is not exact."""
    found = _DECIMAL.fullmatch(text)
    if found is None:
        raise invalid("invalid_decimal", f"{param} must be a finite decimal such as '12.50'.", param=param)
    sign, whole, fraction, power = found.groups(default="")
    written = (whole + fraction).lstrip("0")
    digits = written.rstrip("0")
    if not digits:
        return 0
    zeros = exponent + int(power or 0) - len(fraction) + len(written) - len(digits)
    if zeros < 0:
        raise invalid("too_precise", f"{param} takes at most {exponent} decimal places.", param=param)
    number: int = int(digits) * 10**zeros if len(digits) + zeros <= _INT64_DIGITS else INT64_MAX + 1
    if number > INT64_MAX:
        raise invalid("out_of_range", f"{param} is too large.", param=param)
    return -number if sign == "-" else number


def format_scaled(number: int, exponent: int) -> str:
    """`number` at 10^-exponent as a decimal string with exactly `exponent` places."""
    if exponent == 0:
        return str(number)
    sign, digits = ("-" if number < 0 else ""), str(abs(number)).rjust(exponent + 1, "0")
    return f"{sign}{digits[:-exponent]}.{digits[-exponent:]}"


def format_trimmed(number: int, exponent: int, *, places: int = 2) -> str:
    """As `format_scaled`, without trailing zeros beyond `places` decimals: for prices kept at a finer scale."""
    text = format_scaled(number, exponent)
    while exponent > places and text.endswith("0"):
        text, exponent = text[:-1], exponent - 1
    return text.rstrip(".")


def currency_exponent(currency: str) -> int:
    """Decimal places of `currency`'s minor unit. Raises `unknown_currency`."""
    try:
        return CURRENCY_EXPONENT[currency]
    except KeyError:
        known = ", ".join(sorted(CURRENCY_EXPONENT))
        raise invalid(
            "unknown_currency", f"{currency!r} is not supported; use one of {known}.", param="currency"
        ) from None


@dataclass(frozen=True, slots=True, order=True)
class Money:
    """An amount in minor units of one currency. Arithmetic across currencies is an error, not a conversion."""

    minor: int
    currency: str

    def __add__(self, other: "Money") -> "Money":
        self._same(other)
        return Money(self.minor + other.minor, self.currency)

    def __sub__(self, other: "Money") -> "Money":
        self._same(other)
        return Money(self.minor - other.minor, self.currency)

    def __neg__(self) -> "Money":
        return Money(-self.minor, self.currency)

    def __str__(self) -> str:
        return f"{format_scaled(self.minor, currency_exponent(self.currency))} {self.currency}"

    def _same(self, other: "Money") -> None:
        if self.currency != other.currency:
            raise ValueError(f"cannot combine {self.currency} with {other.currency}")


def notional_minor(quantity: int, price: int, *, qty_exp: int, price_exp: int, money_exp: int) -> int:
    """|quantity| × price in minor units, rounded once, half up (ARCHITECTURE rule 12).

    `quantity` at 10^-qty_exp, `price` at 10^-price_exp, the result at 10^-money_exp. The sign follows `quantity`.
    """
    shift = qty_exp + price_exp - money_exp
    product = quantity * price
    return divide(product, 10**shift, Rounding.HALF_UP) if shift >= 0 else product * 10**-shift
