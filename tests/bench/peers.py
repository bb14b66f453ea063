"""Other engines on `W1a`, `W1b` and `W2`, beside ours, where they are installed; the product never needs them.

`pip install raptorbt==0.13.4 vectorbt==1.2.0 vectorbt-rust==1.2.0` into the environment adds their rows; backtesting.py
comes with the test tools, which take its prices. A row `peer: NAME WORK` is CPU nanoseconds a bar for the whole job
(means, signal, simulation, curve) against our work's limit of the same run. Floats and unrounded shares are theirs, all
windows as in `works`, signals moved to the next open where the peer does not do it. `W1b` is all-in with 10^18, since
0.1 % of 38,560 fills leave 10^-17 of it.

A row `… wrong` counts the fills that exact arithmetic does not have, or that are missing, of its 38,560. The README
beside this file says where peers differ, and who is right. backtesting.py, a thousand times slower, gets the first
50,000 bars of `W1b` and no `W2`.
"""

import contextlib
import importlib
import importlib.util
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tests.bench import works
from tests.bench.measure import Figure, figure, in_turn

ROUNDS = 3
FEES = 0.001
W1B_CASH = 1e18
SLOW_PEERS_BARS = 50_000
GOOG_FINAL = {True: 54101.369160, False: 54611.2370823}  # by whole shares
W2_BEST = 74992.97993


@dataclass(frozen=True, slots=True)
class Done:
    """What a peer's run left: its curve, and on request the rows of its fills."""

    curve: Any
    rows: Callable[[], list[int]]


Crossing = Callable[[dict[str, Any], int, int, float], Done]


@dataclass(frozen=True, slots=True)
class Peer:
    """`module`: without it there are no rows. `crossing(bars, fast, slow, cash)`; `sweep(bars, pairs, cash)` gives the
    last equity of each pair."""

    name: str
    module: str
    crossing: Crossing
    sweep: Callable[[dict[str, Any], tuple[tuple[int, int], ...], float], list[float]] | None
    whole: bool = False


def run(limits: dict[str, float]) -> list[Figure]:
    """`limits`: nanoseconds of our works' limits by name; a work without one has no rows."""
    found: list[Figure] = []
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):  # theirs, and their progress bars
        warnings.simplefilter("ignore")
        for peer in PEERS:
            if importlib.util.find_spec(peer.module) is not None:
                found += _rows(peer, limits)
    return found


def _rows(peer: Peer, limits: dict[str, float]) -> list[Figure]:
    goog, minutes, found = _floats(works.goog()), _floats(works.w1b()), []
    if "W1a" in limits:
        work = partial(peer.crossing, goog, works.FAST, works.SLOW, 10_000.0)
        _must_be(peer, "W1a", float(work().curve[-1]), GOOG_FINAL[peer.whole])
        found.append(_figure(peer, "W1a", work, len(goog["close"]), limits))
    if "W1b" in limits:
        if peer.sweep is None:
            minutes = {name: values[:SLOW_PEERS_BARS] for name, values in minutes.items()}
        work = partial(peer.crossing, minutes, works.FAST, works.SLOW, W1B_CASH)
        found.append(_figure(peer, "W1b", work, len(minutes["close"]), limits))
        exact = {row for row in _exact_rows(works.w1b()["close"]) if row < len(minutes["close"])}
        wrong = len(exact ^ set(work().rows()))
        found.append(figure(f"peer: {peer.name} W1b wrong", wrong, len(exact), "fills"))
    if "W2" in limits and peer.sweep is not None:
        sweep = partial(peer.sweep, goog, works.W2_PAIRS, 10_000.0)
        _must_be(peer, "W2", max(sweep()), W2_BEST)
        found.append(_figure(peer, "W2", sweep, len(works.W2_PAIRS) * len(goog["close"]), limits))
    return found


def _figure(peer: Peer, work: str, do: Callable[[], object], bars: int, limits: dict[str, float]) -> Figure:
    (seconds,) = in_turn(do, rounds=ROUNDS)
    return figure(f"peer: {peer.name} {work}", seconds / bars * 1e9, limits[work], "ns/bar")


def _must_be(peer: Peer, work: str, found: float, known: float) -> None:
    if abs(found - known) > 1e-9 * known:
        raise RuntimeError(f"{peer.name} ends {work} at {found}, not at {known}: it was not given the same work")


def _floats(columns: works.Columns) -> dict[str, Any]:
    """As peers take them: prices in currency, nanoseconds, and dates for those that want pandas."""
    prices = {name: columns[name] / 100 for name in ("open", "high", "low", "close")}
    return prices | {"volume": columns["volume"].astype(np.float64), "times": columns["times"] * 1000}


def _exact_rows(closes: Any) -> list[int]:
    """Rows of the fills that W1 has in whole numbers: the first of them is a purchase."""
    crossed = works.crossings(closes, works.FAST, works.SLOW)
    return [row for row, _ in (crossed if crossed[0][1] else crossed[1:])]


def _changes(fast: Any, slow: Any, known: int) -> tuple[Any, Any]:
    """(entries, exits) at the deciding bars; the first state, at row `known`, trades nothing."""
    above = fast > slow
    entries, exits = np.zeros(len(above), np.bool_), np.zeros(len(above), np.bool_)
    entries[known + 1 :] = above[known + 1 :] & ~above[known:-1]
    exits[known + 1 :] = ~above[known + 1 :] & above[known:-1]
    return entries, exits


def _raptor(bars: dict[str, Any], fast: int, slow: int, cash: float) -> Done:
    raptorbt: Any = importlib.import_module("raptorbt")
    entries, exits = _changes(raptorbt.sma(bars["close"], fast), raptorbt.sma(bars["close"], slow), slow - 1)
    config = raptorbt.BacktestConfig(initial_capital=cash, fees=FEES, fill_timing="next_bar_open")
    prices = [bars[name] for name in ("times", "open", "high", "low", "close", "volume")]
    result = raptorbt.run_single_backtest(*prices, entries, exits, config=config)

    return Done(
        result.equity_curve(), lambda: [row for one in result.trades() for row in (one.entry_idx, one.exit_idx)]
    )


def _raptor_sweep(bars: dict[str, Any], pairs: tuple[tuple[int, int], ...], cash: float) -> list[float]:
    return [float(_raptor(bars, fast, slow, cash).curve[-1]) for fast, slow in pairs]


def _signals(bars: dict[str, Any], pairs: tuple[tuple[int, int], ...]) -> tuple[Any, Any]:
    """Entries and exits (rows, pairs) by vectorbt's means, moved to the bar that trades."""
    vectorbt: Any = importlib.import_module("vectorbt")
    windows = sorted({window for pair in pairs for window in pair})
    means = {window: vectorbt.MA.run(bars["close"], window).ma.to_numpy().ravel() for window in windows}
    found = [_changes(means[fast], means[slow], slow - 1) for fast, slow in pairs]
    entries, exits = (np.stack([one[side] for one in found], axis=1) for side in (0, 1))
    still = np.zeros((1, len(pairs)), np.bool_)
    return np.concatenate([still, entries[:-1]]), np.concatenate([still, exits[:-1]])


def _vectorbt(bars: dict[str, Any], pairs: tuple[tuple[int, int], ...], cash: float, engine: str) -> Any:
    vectorbt: Any = importlib.import_module("vectorbt")
    vectorbt.settings["engine"] = engine  # of the means, too
    entries, exits = _signals(bars, pairs)
    return vectorbt.Portfolio.from_signals(
        bars["close"][:, None], entries, exits, price=bars["open"][:, None], fees=FEES, init_cash=cash
    )


def _vectorbt_crossing(engine: str, bars: dict[str, Any], fast: int, slow: int, cash: float) -> Done:
    portfolio = _vectorbt(bars, ((fast, slow),), cash, engine)
    return Done(portfolio.value().to_numpy().ravel(), lambda: portfolio.orders.records_arr["idx"].tolist())


def _vectorbt_sweep(engine: str, bars: dict[str, Any], pairs: tuple[tuple[int, int], ...], cash: float) -> list[float]:
    last: list[float] = _vectorbt(bars, pairs, cash, engine).value().to_numpy()[-1].tolist()
    return last


def _backtesting(bars: dict[str, Any], fast: int, slow: int, cash: float) -> Done:
    """Whole shares. Orders of one bar fill at the next open; the position at the end stays open."""
    backtesting: Any = importlib.import_module("backtesting")
    pandas: Any = importlib.import_module("pandas")

    class Cross(backtesting.Strategy):  # type: ignore[misc]  # the package is not typed
        def init(self) -> None:
            close = pandas.Series(self.data.Close)
            self.fast = self.I(lambda: close.rolling(fast).mean())
            self.slow = self.I(lambda: close.rolling(slow).mean())
            self.above: bool | None = None

        def next(self) -> None:
            above = bool(self.fast[-1] > self.slow[-1])
            if self.above is not None and above != self.above:
                if above:
                    self.buy()
                elif self.position:
                    self.position.close()
            self.above = above

    names = ("open", "high", "low", "close", "volume")
    frame = pandas.DataFrame({name.capitalize(): bars[name] for name in names}, index=pandas.to_datetime(bars["times"]))
    test = backtesting.Backtest(frame, Cross, cash=cash, commission=FEES, finalize_trades=False)
    stats = test.run()

    def rows() -> list[int]:
        closed = stats["_trades"]
        opened = [trade.entry_bar for trade in stats["_strategy"].trades]
        return [*closed["EntryBar"].tolist(), *closed["ExitBar"].tolist(), *opened]

    return Done(stats["_equity_curve"]["Equity"].to_numpy(), rows)


PEERS = (
    Peer("raptorbt", "raptorbt", _raptor, _raptor_sweep),
    Peer("vectorbt-rust", "vectorbt_rust", partial(_vectorbt_crossing, "rust"), partial(_vectorbt_sweep, "rust")),
    Peer("vectorbt-numba", "vectorbt", partial(_vectorbt_crossing, "numba"), partial(_vectorbt_sweep, "numba")),
    Peer("backtesting.py", "backtesting", _backtesting, None, whole=True),
)
