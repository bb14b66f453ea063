"""Technical indicators against pandas, written from their definitions; missing bars, splits, and blocks of any size."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.engine.bars import Bars, Split, timeline
from app.engine.instruments import Instrument
from app.engine.macros import MACROS
from app.engine.nodes import WORDS
from app.engine.program import compile_program
from app.engine.runtime import ProgramRuntime, splits_of
from app.kernel.errors import DomainError

Slots = Callable[..., list[Instrument]]
Maker = Callable[..., Bars]
Series = Any
CLOSE, HIGH, LOW, VOLUME = ({"op": name} for name in ("close", "high", "low", "volume"))
CONDITIONS = {name for words in (WORDS, MACROS) for name, word in words.items() if word.kind == "condition"}
QUIET = settings(max_examples=12, suppress_health_check=list(HealthCheck))


def tied(rows: int, seed: int, *, missing: float = 0.0, step: int = 2) -> Bars:
    """A walk of a few ticks of 0.01 a bar at price_exp 4: many ties and flat bars; three bars a day."""
    rng = np.random.default_rng(seed)
    closes = 10_000 + np.cumsum(rng.integers(-step, step + 1, rows))
    opens = closes + rng.integers(-step, step + 1, rows)
    highs = np.maximum(opens, closes) + rng.integers(0, step + 1, rows)
    lows = np.minimum(opens, closes) - rng.integers(0, step + 1, rows)
    prices = np.maximum(np.stack([opens, highs, lows, closes]), 1) * 100
    fields = np.concatenate([prices, rng.integers(0, 4, (1, rows))])[:, None, :].astype(np.int64)
    days = 12053 + np.arange(rows, dtype=np.int64) // 3
    times = days * 86_400_000_000 + np.arange(rows) % 3 * 3_600_000_000
    valid = (rng.random((1, rows)) >= missing).astype(np.uint8)
    return Bars(times, days, np.ascontiguousarray(fields), valid)


def compute(target: Any, bars: Bars, slots: list[Instrument], block: int = 4096, events: Any = None) -> Series:
    """The values of an expression by row, NaN where it has none."""
    if target["op"] in CONDITIONS:
        target = {"op": "select", "when": target, "then": 1, "else": 0}
    program = compile_program({"version": 1, "name": "t", "target": target, "rebalance": "on_change"})
    runtime = ProgramRuntime(program, slots, block=block)
    weights, flags = np.zeros((bars.slots, block), np.int64), np.zeros((bars.slots, block), np.uint8)
    cuts = {0, bars.rows, *range(0, bars.rows, block)} | ({int(e[0]) for e in events} if events is not None else set())
    ends = sorted(cuts)
    found = []
    for start, end in zip(ends, ends[1:], strict=False):
        runtime.over(bars, weights, flags).advance(start, end, splits_of(events, start, end))
        machine = runtime.machine(block)
        registers, ok = machine.columns, machine.known
        values, known = registers[0, program.target, : end - start], ok[0, program.target, : end - start]
        found.append(np.where(known == 1, values, np.nan))
    return np.concatenate(found)


def frame(bars: Bars) -> pd.DataFrame:
    """The valid bars, in natural units."""
    names = ["open", "high", "low", "close", "volume"]
    scale = np.array([10_000] * 4 + [1])
    data = pd.DataFrame(bars.fields[:, 0, :].T / scale, columns=names)
    data["day"] = bars.days
    return data[bars.valid[0] == 1]


def smoothed(x: Series, n: int, alpha: float) -> Series:
    known = x.dropna()
    start = known.iloc[n - 1 :].copy()
    start.iloc[0] = known.iloc[:n].mean()
    return start.ewm(alpha=alpha, adjust=False).mean().reindex(x.index)


def ema(x: Series, n: int) -> Series:
    return smoothed(x, n, 2 / (n + 1))


def wilder(x: Series, n: int) -> Series:
    return smoothed(x, n, 1 / n)


def true_range(d: pd.DataFrame) -> Series:
    before = d.close.shift(1)
    parts = pd.concat([d.high - d.low, (d.high - before).abs(), (d.low - before).abs()], axis=1)
    return parts.max(axis=1, skipna=False)


def rsi(x: Series, n: int) -> Series:
    change = x.diff()
    return 100 - 100 / (1 + wilder(change.clip(lower=0), n) / wilder(-change.clip(upper=0), n))


def over(op: str, window: int, of: Any = CLOSE, **more: Any) -> dict[str, Any]:
    return {"op": op, "of": of, "window": window, **more}


def crossed(left: Series, right: Series) -> Series:
    before = left.shift(1) - right.shift(1)
    return ((left > right) & (before <= 0)).astype(float).where(before.notna())


def bands(d: pd.DataFrame, n: int, width: float) -> Series:
    return d.close.rolling(n).mean() + width * d.close.rolling(n).std(ddof=0)


def weighed(x: Series, n: int) -> Series:
    return x.rolling(n).apply(lambda v: np.average(v, weights=np.arange(1, n + 1)))


def fitted(x: Series, n: int) -> Series:
    return x.rolling(n).apply(lambda v: np.polyfit(np.arange(n), v, 1)[0])


def ranked(x: Series, n: int) -> Series:
    return x.rolling(n + 1).apply(lambda v: 100 * (v[:-1] <= v[-1]).mean(), raw=True)


def stochastic(d: pd.DataFrame, n: int) -> Series:
    low, high = d.low.rolling(n).min(), d.high.rolling(n).max()
    return 100 * (d.close - low) / (high - low)


def typical(d: pd.DataFrame) -> Series:
    return (d.high + d.low + d.close) / 3


def cci(d: pd.DataFrame, n: int) -> Series:
    rolled = typical(d).rolling(n)
    return (typical(d) - rolled.mean()) / (0.015 * rolled.apply(lambda v: np.abs(v - v.mean()).mean()))


def movement(d: pd.DataFrame, up: bool) -> Series:
    ticks = (d[["high", "low"]] * 100).round()  # comparisons are exact: 10.03 − 10.02 equals 10.02 − 10.01
    rise, fall = ticks.high.diff(), -ticks.low.diff()
    own, other = (rise, fall) if up else (fall, rise)
    return (own / 100).where((own > other) & (own > 0), 0.0).where(own.notna())


def directional(d: pd.DataFrame, n: int, up: bool) -> Series:
    return wilder(movement(d, up), n) / wilder(true_range(d), n) * 100


def adx(d: pd.DataFrame, n: int) -> Series:
    plus, minus = directional(d, n, True), directional(d, n, False)
    return wilder(100 * (plus - minus).abs() / (plus + minus), n)


def channel(d: pd.DataFrame, width: float) -> Series:
    return ema(d.close, 20) + width * wilder(true_range(d), 10)


def zscore(x: Series, n: int) -> Series:
    """Each window by itself: pandas' running sums are less exact than what is tested."""
    return x.rolling(n).apply(lambda v: (v[-1] - v.mean()) / v.std(), raw=True)


def vwap(d: pd.DataFrame) -> Series:
    traded = d.volume.groupby(d.day).cumsum()
    return (typical(d) * d.volume).groupby(d.day).cumsum() / traded.where(traded > 0)


def obv(d: pd.DataFrame) -> Series:
    return (np.sign((d.close * 100).round().diff()).fillna(1) * d.volume).cumsum()


def supertrend(d: pd.DataFrame, width: float, n: int) -> tuple[Series, Series]:
    """Line and direction, from the Pine Script reference's text, bar by bar."""
    away, middle = width * wilder(true_range(d), n), (d.high + d.low) / 2
    line, rising = pd.Series(np.nan, d.index), pd.Series(np.nan, d.index)
    last: Any = None
    for at in away.dropna().index:
        upper, lower, up = middle[at] + away[at], middle[at] - away[at], False
        if last is not None:
            old_upper, old_lower, was_up, close = last
            lower = lower if lower > old_lower or close < old_lower else old_lower
            upper = upper if upper < old_upper or close > old_upper else old_upper
            up = d.close[at] >= lower if was_up else d.close[at] > upper
        last = upper, lower, up, d.close[at]
        line[at], rising[at] = lower if up else upper, float(up)
    return line, rising


MIDDLE = {"op": "div", "left": {"op": "add", "left": HIGH, "right": LOW}, "right": 2}
CASES: list[tuple[dict[str, Any], Callable[[pd.DataFrame], Series]]] = [
    (over("ema", 12), lambda d: ema(d.close, 12)),
    (over("ema", 1), lambda d: d.close),
    (over("ema", 9, over("ema", 5, MIDDLE)), lambda d: ema(ema((d.high + d.low) / 2, 5), 9)),
    (over("wilder", 14, VOLUME), lambda d: wilder(d.volume, 14)),
    ({"op": "true_range"}, true_range),
    ({"op": "atr"}, lambda d: wilder(true_range(d), 14)),
    (over("rsi", 14), lambda d: rsi(d.close, 14)),
    (over("rsi", 2, over("sma", 3)), lambda d: rsi(d.close.rolling(3).mean(), 2)),
    (over("highest", 20, HIGH), lambda d: d.high.rolling(20).max()),
    (over("lowest", 55, LOW), lambda d: d.low.rolling(55).min()),
    (over("highest", 1), lambda d: d.close),
    (over("highest", 7, over("ema", 5, MIDDLE)), lambda d: ema((d.high + d.low) / 2, 5).rolling(7).max()),
    (over("wma", 9), lambda d: weighed(d.close, 9)),
    (over("wma", 30, VOLUME), lambda d: weighed(d.volume, 30)),
    (over("slope", 14), lambda d: fitted(d.close, 14)),
    (over("sma", 5, MIDDLE), lambda d: ((d.high + d.low) / 2).rolling(5).mean()),
    (over("mean_deviation", 8), lambda d: d.close.rolling(8).apply(lambda v: np.abs(v - v.mean()).mean())),
    (over("percent_rank", 50), lambda d: ranked(d.close, 50)),
    (over("roc", 12), lambda d: 100 * (d.close / d.close.shift(12) - 1)),
    ({"op": "macd", "of": CLOSE}, lambda d: ema(d.close, 12) - ema(d.close, 26)),
    ({"op": "macd_signal", "of": CLOSE}, lambda d: ema(ema(d.close, 12) - ema(d.close, 26), 9)),
    (
        {"op": "macd_histogram", "of": CLOSE, "fast": 3, "slow": 7, "signal": 4},
        lambda d: (line := ema(d.close, 3) - ema(d.close, 7)) - ema(line, 4),
    ),
    ({"op": "bollinger_upper"}, lambda d: bands(d, 20, 2)),
    ({"op": "bollinger_lower", "window": 9, "width": 1.5}, lambda d: bands(d, 9, -1.5)),
    ({"op": "donchian_upper"}, lambda d: d.high.rolling(20).max()),
    ({"op": "donchian_lower"}, lambda d: d.low.rolling(20).min()),
    ({"op": "donchian_middle", "window": 9}, lambda d: (d.high.rolling(9).max() + d.low.rolling(9).min()) / 2),
    ({"op": "keltner_upper"}, lambda d: channel(d, 2)),
    ({"op": "keltner_lower", "width": 1.5}, lambda d: channel(d, -1.5)),
    ({"op": "stochastic_k", "window": 14}, lambda d: stochastic(d, 14)),
    ({"op": "stochastic_d", "smooth": 3}, lambda d: stochastic(d, 14).rolling(3).mean().rolling(3).mean()),
    ({"op": "typical"}, typical),
    ({"op": "cci"}, lambda d: cci(d, 20)),
    ({"op": "plus_di"}, lambda d: directional(d, 14, True)),
    ({"op": "minus_di"}, lambda d: directional(d, 14, False)),
    ({"op": "adx"}, lambda d: adx(d, 14)),
    (over("stddev", 7, over("ema", 4)), lambda d: ema(d.close, 4).rolling(7).apply(np.std, raw=True)),
    (over("stddev", 7, MIDDLE, ddof=1), lambda d: ((d.high + d.low) / 2).rolling(7).std()),
    (over("zscore", 9, over("ema", 4)), lambda d: zscore(ema(d.close, 4), 9)),
    ({"op": "growth"}, lambda d: d.close / d.close.iloc[0]),
    ({"op": "plus_dm"}, lambda d: movement(d, True)),
    ({"op": "minus_dm"}, lambda d: movement(d, False)),
    ({"op": "vwap"}, vwap),
    ({"op": "obv"}, obv),
    ({"op": "supertrend"}, lambda d: supertrend(d, 3, 10)[0]),
    ({"op": "supertrend", "width": 1, "window": 5}, lambda d: supertrend(d, 1, 5)[0]),
    ({"op": "supertrend_up", "width": 1, "window": 5}, lambda d: supertrend(d, 1, 5)[1]),
    ({"op": "cross_above", "left": CLOSE, "right": {"op": "open"}}, lambda d: crossed(d.close, d.open)),
    ({"op": "cross_below", "left": CLOSE, "right": {"op": "open"}}, lambda d: crossed(d.open, d.close)),
]  # fmt: skip
NAMES = [f"{case['op']}-{i}" for i, (case, _) in enumerate(CASES)]


@pytest.mark.parametrize(("target", "reference"), CASES, ids=NAMES)
@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_it_equals_its_definition(slots: Slots, target: Any, reference: Any, missing: float) -> None:
    bars = tied(1500, 5, missing=missing)
    got = pd.Series(compute(target, bars, slots(1)))
    wanted = reference(frame(bars)).reindex(got.index)
    known = wanted.notna()
    assert known.sum() > 1000
    assert (got.notna() == known).all()
    error = ((got - wanted).abs() / wanted.abs().clip(lower=1.0))[known]
    # The most difficult percentile is a difference of large sums in the reference, not here.
    assert error.quantile([0.5, 0.99, 1.0]).tolist() == pytest.approx([0, 0, 0], abs=1e-8)
    assert error.quantile(0.5) <= 1e-12


@QUIET
@pytest.mark.parametrize("target", [case for case, _ in CASES], ids=NAMES)
@given(seed=st.integers(0, 10**6), missing=st.sampled_from([0.0, 0.2]))
def test_blocks_of_any_size_give_the_same_bits(slots: Slots, target: Any, seed: int, missing: float) -> None:
    bars = tied(160, seed, missing=missing, step=3)
    events = timeline(bars, [Split(70, 0, 2, 1), Split(111, 0, 2, 3)])
    whole = compute(target, bars, slots(1), events=events)
    for block in (1, 7):
        assert compute(target, bars, slots(1), block, events).tobytes() == whole.tobytes()


@pytest.mark.parametrize("target", [case for case, _ in CASES], ids=NAMES)
def test_the_warm_up_is_announced_and_the_future_changes_nothing(slots: Slots, target: Any) -> None:
    bars = tied(200, 11, step=9)
    cut = Bars(bars.times[:150], bars.days[:150], bars.fields[:, :, :150].copy(), bars.valid[:, :150].copy())
    whole = compute(target, bars, slots(1))
    assert compute(target, cut, slots(1)).tobytes() == whole[:150].tobytes()
    shown = target
    if target["op"] in CONDITIONS:
        shown = {"op": "select", "when": target, "then": 1, "else": 0}
    program = compile_program({"version": 1, "name": "t", "target": shown, "rebalance": "on_change"})
    assert int(np.flatnonzero(~np.isnan(whole))[0]) == program.warm_up - 1


@pytest.mark.parametrize("target", [case for case, _ in CASES if case["op"] not in CONDITIONS], ids=str)
def test_a_split_restates_what_is_remembered(slots: Slots, target: Any) -> None:
    """A series halved at a split reads, afterwards, as one that was halved from its beginning."""
    bars = tied(200, 3, step=9)
    bars.fields[:4] *= 2
    bars.fields[4] += 1
    halved = Bars(bars.times, bars.days, bars.fields.copy(), bars.valid)
    halved.fields[:4, :, 100:] //= 2
    halved.fields[4, :, 100:] *= 2
    adjusted = Bars(bars.times, bars.days, bars.fields.copy(), bars.valid)
    adjusted.fields[:4] //= 2
    adjusted.fields[4] *= 2
    events = timeline(halved, [Split(100, 0, 2, 1)])
    got = compute(target, halved, slots(1), events=events)[100:]
    assert got == pytest.approx(compute(target, adjusted, slots(1))[100:], rel=1e-9, nan_ok=True)


@given(st.integers(1, 40), st.integers(0, 10**6), st.floats(0, 0.3))
@QUIET
def test_extremes_are_exact_and_an_unknown_value_empties_the_window(
    slots: Slots, window: int, seed: int, share: float
) -> None:
    bars = tied(250, seed, missing=0.1)
    bars.fields[4] = np.random.default_rng(seed).random(250) > share  # 0: the quotient is unknown
    of = {"op": "div", "left": CLOSE, "right": VOLUME}
    data = frame(bars)
    values = data.close.where(data.volume == 1)
    for op, rolled in (("highest", values.rolling(window).max()), ("lowest", values.rolling(window).min())):
        got = compute(over(op, window, of), bars, slots(1), 9)
        assert np.array_equal(got, rolled.reindex(range(250)).to_numpy(), equal_nan=True)


def test_a_flat_price_has_flat_means_and_no_strength(by_hand: Maker, slots: Slots) -> None:
    flat = by_hand(*[(3, 3, 3, 3)] * 60)
    flat.fields[:4] = 30_100
    assert set(compute(over("ema", 12), flat, slots(1))[11:]) == {3.01}
    assert set(compute(over("wilder", 26), flat, slots(1))[25:]) == {3.01}
    assert set(compute({"op": "atr"}, flat, slots(1))[14:]) == {0.0}
    assert np.isnan(compute(over("rsi", 14), flat, slots(1))).all()


def test_touching_without_crossing_is_no_cross(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(*[(p, p, p, p) for p in (3, 4, 4, 5, 4, 3, 5)])
    above = {"op": "cross_above", "left": CLOSE, "right": 4}
    below = {"op": "cross_below", "left": CLOSE, "right": 4}
    assert compute(above, bars, slots(1))[1:].tolist() == [0, 0, 1, 0, 0, 1]
    assert compute(below, bars, slots(1))[1:].tolist() == [0, 0, 0, 0, 1, 0]


@pytest.mark.parametrize(
    ("target", "path", "words"),
    [
        ({"op": "rsi", "of": CLOSE, "window": 0}, "target.window", "from 1 to 5000"),
        ({"op": "rsi"}, "target.of", "needs it"),
        ({"op": "rsi", "of": CLOSE, "bars": 3}, "target.bars", "no such argument"),
        ({"op": "rsi", "of": {"op": "moon"}}, "target.of.op", "unknown operation"),
        ({"op": "ema", "of": {"op": "month_changed"}, "window": 3}, "target.of", "must be a number"),
        ({"op": "neg", "of": {"op": "cross_above", "left": 1, "right": 2}}, "target.of", "must be a number"),
        (
            {"op": "select", "when": {"op": "cross_above", "left": CLOSE, "right": VOLUME}, "then": 1, "else": 0},
            "target.when", "'cross_above': combines values that follow a split differently",
        ),
    ],
)  # fmt: skip
def test_a_refusal_names_the_place_in_the_users_own_words(target: Any, path: str, words: str) -> None:
    with pytest.raises(DomainError) as error:
        compile_program({"version": 1, "name": "t", "target": target, "rebalance": "on_change"})
    assert error.value.param == path
    assert words in error.value.message


def test_no_macro_hides_a_word_and_every_macro_is_tested() -> None:
    assert not set(MACROS) & set(WORDS)
    assert set(MACROS) <= {case["op"] for case, _ in CASES}
