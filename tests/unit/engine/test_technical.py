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
from app.engine.runtime import ProgramRuntime
from app.kernel.errors import DomainError

Slots = Callable[..., list[Instrument]]
Maker = Callable[..., Bars]
Series = Any
CLOSE, HIGH, LOW, VOLUME = ({"op": name} for name in ("close", "high", "low", "volume"))
CONDITIONS = {name for name, word in WORDS.items() if word.kind == "condition"} | {"cross_above", "cross_below"}
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
    return Bars(times, days, np.ascontiguousarray(fields), valid).check()


def compute(target: Any, bars: Bars, slots: list[Instrument], block: int = 4096, events: Any = None) -> Series:
    """The values of an expression by row, NaN where it has none."""
    if target["op"] in CONDITIONS:
        target = {"op": "select", "when": target, "then": 1, "else": 0}
    program = compile_program({"version": 1, "name": "t", "target": target, "rebalance": "on_change"})
    runtime = ProgramRuntime(program, slots, block=block)
    weights, flags = np.zeros((block, bars.slots), np.int64), np.zeros((block, bars.slots), np.uint8)
    cuts = {0, bars.rows, *range(0, bars.rows, block)} | ({int(e[0]) for e in events} if events is not None else set())
    ends = sorted(cuts)
    found = []
    for start, end in zip(ends, ends[1:], strict=False):
        runtime.advance(bars, events, start, end, weights, flags)
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
