"""The work with breakouts: a stop entry at the highest high, a bracket, an exit at a channel's low; against plain
Python that knows nothing of the engine."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from app.engine.bars import Bars, align
from app.engine.columns import Intrabar
from app.engine.program import compile_program
from app.engine.schedule import schedule_named
from app.engine.simulation import Result, backtest
from app.engine.terms import Terms
from tests.bench import works

ROWS = 10_000
ENTRY, TREND, CHANNEL = 55, 200, 20
BREAKOUT: dict[str, Any] = {
    "version": 1,
    "name": "W1b-breakout",
    "trades": {
        "long": {
            "enter": f"close > sma(close, {TREND})",
            "exit": f"close < lag(lowest(low, {CHANNEL}), 1)",
        },
        "entry": {"type": "stop", "price": f"highest(high, {ENTRY})", "valid": "till_cancelled"},
        "stop_loss": {"percent": 0.4},
        "take_profit": {"percent": 1},
    },
    "sizing": {"type": "units", "units": 50},
}
Told = tuple[int, int, int, str]


@pytest.fixture(scope="module")
def bars() -> Bars:
    return align([{name: values[:ROWS] for name, values in works.w1b().items()}])


def run(bars: Bars, document: dict[str, Any] = BREAKOUT, **options: Any) -> Result:
    settings: dict[str, Any] = {"instruments": [works.W1B_INSTRUMENT], "schedule": schedule_named("zero")}
    return backtest(compile_program(document), bars, cash=works.W1B_CASH, **settings | options)


def told(result: Result) -> list[Told]:
    return [(fill.row, fill.side.sign, fill.price, fill.reason) for fill in result.fill_records()]


class Plain:
    """The same rules for one long position, in plain whole numbers: stops before targets, and the stop of a bar's own
    entry as if the bar's low came after it."""

    def __init__(self, bars: Bars, loss: int, gain: int) -> None:
        """`loss`, `gain`: of the entry price, in hundredths of a percent."""
        self.loss, self.gain = loss, gain
        self.open, self.high, self.low, self.close = (bars.fields[field, 0].tolist() for field in range(4))
        self.trigger = self.stop = self.target = 0
        self.held = self.leaving = False
        self.fills: list[Told] = []

    def run(self) -> list[Told]:
        for row in range(len(self.close)):
            if self.held:
                self._exit(row)
            elif self.trigger and self.high[row] >= self.trigger:
                self._enter(row)
            self._decide(row)
        return self.fills

    def _enter(self, row: int) -> None:
        price = max(self.open[row], self.trigger)
        self.fills.append((row, 1, price, "enter"))
        self.held, self.trigger = True, 0
        self.stop, self.target = (
            price - (price * self.loss + 5000) // 10_000,
            price + (price * self.gain + 5000) // 10_000,
        )
        if self.low[row] <= self.stop:
            self._sell(row, self.stop, "stop_loss")
        elif self.high[row] > self.target:
            self._sell(row, self.target, "take_profit")

    def _exit(self, row: int) -> None:
        if self.open[row] <= self.stop:
            self._sell(row, self.open[row], "stop_loss")
        elif self.open[row] > self.target:
            self._sell(row, self.open[row], "take_profit")
        elif self.leaving:
            self._sell(row, self.open[row], "exit")
        elif self.low[row] <= self.stop:
            self._sell(row, self.stop, "stop_loss")
        elif self.high[row] > self.target:
            self._sell(row, self.target, "take_profit")

    def _sell(self, row: int, price: int, reason: str) -> None:
        self.fills.append((row, -1, price, reason))
        self.held = self.leaving = False

    def _decide(self, row: int) -> None:
        if self.held:
            before = self.low[max(row - CHANNEL, 0) : row]
            self.leaving = self.leaving or (row >= CHANNEL and self.close[row] < min(before))
        elif row + 1 >= TREND and self.close[row] * TREND > sum(self.close[row + 1 - TREND : row + 1]):
            self.trigger = max(self.high[row + 1 - ENTRY : row + 1])


@pytest.mark.parametrize(("loss", "gain"), [(40, 100), (5, 12)])
def test_breakouts_trade_as_plain_python_does(bars: Bars, loss: int, gain: int) -> None:
    bracket = {"stop_loss": {"percent": loss / 100}, "take_profit": {"percent": gain / 100}}
    result = run(bars, BREAKOUT | {"trades": BREAKOUT["trades"] | bracket})
    plain = Plain(bars, loss, gain).run()
    assert told(result) == plain
    reasons = {reason for *_, reason in plain}
    assert reasons >= ({"enter", "stop_loss", "take_profit"} if loss == 5 else {"enter", "exit"})
    assert len(plain) > 100
    assert {fill.quantity for fill in result.fill_records()} == {50}
    assert (result.expired_orders, result.unaffordable_orders) == (0, 0)


def test_an_entry_is_sent_again_only_where_the_highest_high_moved(bars: Bars) -> None:
    result = run(bars)
    entries = [row for row, _, _, reason in told(result) if reason == "enter"]
    entered = len(entries)
    sent = result.orders - 2 * entered - sum(1 for *_, reason in told(result) if reason == "exit")
    assert entered <= sent - result.cancelled_orders <= entered + 1  # each filled, replaced, or still resting
    assert 0 < result.cancelled_orders < ROWS // 10


def test_breakouts_do_not_depend_on_blocks_or_on_skipped_rows(bars: Bars) -> None:
    whole = run(bars, block=ROWS)
    assert {run(bars, block=size).sha256() for size in (4096, 7)} == {whole.sha256()}
    assert run(bars, terms=Terms(borrow_bps=1)).sha256() == whole.sha256()


def test_positions_alternate_and_the_money_adds_up(bars: Bars) -> None:
    for policy in (Intrabar.PESSIMISTIC, Intrabar.PATH):
        result = run(bars, terms=Terms(policy))
        assert all(one[1] == -other[1] for one, other in pairwise(told(result)))
        moved = sum(-fill.side.sign * fill.notional for fill in result.fill_records())
        assert result.cash == works.W1B_CASH + moved
        worth = result.positions[0].quantity * int(bars.fields[3, 0, -1])
        assert result.equity[-1] == result.cash + worth
        assert np.count_nonzero(np.diff(result.equity)) > ROWS // 10
