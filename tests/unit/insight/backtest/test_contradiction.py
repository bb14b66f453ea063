"""A contradiction between finer bars and bars is told by instrument, time and prices."""

from typing import Any
from uuid import UUID

import pytest

from app.engine.bars import Bars, align
from app.engine.finer import within
from app.engine.terms import Terms
from app.insight.backtest.domain import Listed, Plan
from app.insight.backtest.service.contradiction import explain
from app.kernel.errors import DomainError, invalid
from app.kernel.orders import Product

HOUR_US = 3_600_000_000


def series(*rows: tuple[float, int, int, int, int]) -> dict[str, Any]:
    """Of (hour, open, high, low, close), prices in whole units."""
    names = ("open", "high", "low", "close")
    columns: dict[str, Any] = {name: [row[place] * 100 for row in rows] for place, name in enumerate(names, 1)}
    return columns | {
        "times": [int(row[0] * HOUR_US) for row in rows],
        "days": [0] * len(rows),
        "volume": [1] * len(rows),
    }


def plan() -> Plan:
    listed = tuple(Listed(UUID(int=slot + 1), name, "INR", 2, 0, 5, 1, "", "") for slot, name in enumerate("AB"))
    return Plan({}, {}, listed, "1h", None, None, 1, "zero", Product.DELIVERY, 0, Terms(), "15m")


A = series((1, 10, 10, 10, 10), (2, 10, 12, 9, 11), (3, 11, 12, 10, 11), (4, 11, 11, 11, 11))
B = series((1, 20, 20, 20, 20), (2, 20, 22, 19, 21), (4, 21, 22, 20, 21))
FINE_A = series((1.5, 10, 12, 10, 12), (2, 12, 12, 9, 11), (2.5, 11, 12, 10, 11))


def told(bars: Bars, finer: Bars) -> str:
    with pytest.raises(DomainError) as found:
        within(bars, finer)
    said = explain(found.value, plan(), bars, finer)
    assert (said.code, said.param) == ("invalid_bars", "finer")
    return said.message


@pytest.mark.parametrize(
    ("fine", "reason"),
    [
        ([(1.75, 20, 22, 19, 21), (3.5, 21, 22, 20, 22), (4, 22, 22, 22, 22)],
         "B disagree about 1970-01-01T04:00:00Z: the close is 22.00 by the finer ones and 21.00 by the bar."),
        ([(1.75, 20, 22, 18, 21), (3.5, 21, 22, 20, 22)],
         "B disagree about 1970-01-01T02:00:00Z: the low is 18.00 by the finer ones and 19.00 by the bar."),
        ([(1.5, 19, 19, 19, 19), (1.75, 20, 22, 19, 21)],
         "B disagree about 1970-01-01T02:00:00Z: the open is 19.00 by the finer ones and 20.00 by the bar."),
        ([(2.5, 21, 22, 20, 21)], "B disagree about 1970-01-01T03:00:00Z: there are finer bars and no bar."),
    ],
)  # fmt: skip
def test_it_names_the_instrument_the_time_and_the_prices(
    fine: list[tuple[float, int, int, int, int]], reason: str
) -> None:
    said = told(align([A, B]), align([FINE_A, series(*fine)]))
    assert said.startswith(f"15m and 1h bars of {reason}")
    assert "finer_interval" in said and "slot" not in said


def test_what_is_no_contradiction_stays_as_it_is() -> None:
    error = invalid("invalid_bars", "something else", param="finer")
    assert explain(error, plan(), align([A, B]), align([FINE_A, B])) is error
