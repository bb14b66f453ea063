"""Exact integer arithmetic for kernels: products wider than 64 bits, calendar months."""

from app.engine.kernels.jit import kernel

NEAR = 2.0**50
"""A quotient below it, of two floats that are each off by half a unit in the last place, is off by less than one."""
_WIDE = 2**49
_SAFE = 9.0e18
"""Below the largest int64 by more than the rounding of a float product."""


@kernel
def multiply_divide(a: int, b: int, c: int, half_up: bool) -> int:
    """|a| × b / c with the sign of `a`: towards zero, or to the nearest with halves away from zero.

    b >= 0, c > 0 and below 2^62. The product may exceed 64 bits. Raises OverflowError where the quotient nears 2^63.
    """
    magnitude = -a if a < 0 else a
    estimate = float(magnitude) * float(b)
    if c == 1 and estimate < _SAFE:
        return a * b
    if estimate < _SAFE and estimate < NEAR * float(c):
        # A float division and a correction: an integer division costs several times as much.
        product = magnitude * b
        quotient = int(estimate / float(c))
        remainder = product - quotient * c
        if remainder < 0:
            quotient, remainder = quotient - 1, remainder + c
        elif remainder >= c:
            quotient, remainder = quotient + 1, remainder - c
    elif c < _WIDE and estimate < _SAFE * float(c):
        # The quotient is off by some thousands at most, so the remainder fits into 64 bits, though its terms wrap.
        quotient = int(estimate / float(c))
        remainder = int(magnitude) * int(b) - quotient * int(c)
        step = remainder // c
        quotient, remainder = quotient + step, remainder - step * c
    else:
        if estimate / float(c) > _SAFE:
            raise OverflowError("an amount does not fit into 64 bits")
        step, rest = magnitude // c, magnitude % c
        quotient, remainder = 0, 0
        for bit in range(62, -1, -1):
            quotient, remainder = 2 * quotient, 2 * remainder
            if (b >> bit) & 1:
                quotient, remainder = quotient + step, remainder + rest
            if remainder >= 2 * c:
                quotient, remainder = quotient + 2, remainder - 2 * c
            elif remainder >= c:
                quotient, remainder = quotient + 1, remainder - c
    if half_up and remainder >= c - remainder:
        quotient += 1
    return -quotient if a < 0 else quotient


@kernel
def month_of(day: int) -> int:
    """Months since year 0 of a day counted from 1970-01-01 (Howard Hinnant, chrono-compatible date algorithms)."""
    z = day + 719468
    era = z // 146097
    of_era = z - era * 146097
    year_of_era = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    year = year_of_era + era * 400 + (1 if month <= 2 else 0)
    return year * 12 + month - 1


@kernel
def day_of_month(day: int) -> int:
    """1 to 31 of a day counted from 1970-01-01."""
    of_era = (day + 719468) % 146097
    year_of_era = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * of_year + 2) // 153
    return of_year - (153 * shifted + 2) // 5 + 1
