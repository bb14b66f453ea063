"""The kernels run uncompiled, as ordinary Python: the same bytes, and every line visible to coverage."""

import importlib
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from app.engine import kernels
from app.engine.bars import AnyEvent, Bars, Dividend, Expiry, Split, timeline
from app.engine.columns import Intrabar
from app.engine.fills import SlippageModel
from app.engine.instruments import Instrument
from app.engine.kernels import native
from app.engine.kernels.book import ENTRIES
from app.engine.program import compile_program
from app.engine.runtime import ProgramRuntime
from app.engine.schedule import Base, Rate, Schedule, schedule_named
from app.engine.simulation import Result, backtest
from app.engine.terms import Terms
from app.kernel.orders import Product

Maker = Callable[..., Bars]
Slots = Callable[..., list[Instrument]]
Documents = Callable[..., dict[str, Any]]
FOLDER = Path(kernels.__file__ or "").parent
NAMES = [f"{kernels.__name__}.{path.stem}" for path in sorted(FOLDER.glob("*.py"))]
NAMES = [name for name in NAMES if name.rpartition(".")[2] not in ("__init__", "book", "build", "native")]
CLOSE = {"op": "close"}


def interpreted(name: str, *arguments: Any) -> Callable[..., int]:
    """An entry as the function it was compiled from."""
    module = importlib.import_module(f"{kernels.__name__}.{ENTRIES[name][0]}")
    return lambda *integers: int(getattr(module, name)(*arguments, *integers))


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """A function that runs its argument with every kernel uncompiled."""

    def call(work: Callable[[], Any]) -> Any:
        for name in NAMES:
            importlib.import_module(name)
        saved = {name: sys.modules.pop(name) for name in NAMES}
        try:
            with monkeypatch.context() as patch, np.errstate(divide="ignore", over="ignore", invalid="ignore"):
                patch.setattr(numba, "njit", lambda *_, **__: lambda function: function)
                patch.setattr(native, "bind", interpreted)
                patch.setattr(native, "part", lambda _kind, argument: argument)
                for name in NAMES:
                    importlib.import_module(name)
                return work()
        finally:
            for name, module in saved.items():
                sys.modules[name] = module
                setattr(kernels, name.rpartition(".")[2], module)

    yield call


def twice(plain: Callable[..., Any], work: Callable[[], Result]) -> Result:
    compiled, interpreted = work(), plain(work)
    assert compiled.sha256() == interpreted.sha256()
    assert compiled.charges == interpreted.charges
    assert compiled.positions == interpreted.positions
    return compiled


def test_the_fixture_really_runs_python(plain: Callable[..., Any]) -> None:
    def is_compiled() -> bool:
        from app.engine.kernels import integers

        return hasattr(integers.month_of, "py_func")

    assert is_compiled()
    assert not plain(is_compiled)
    assert is_compiled()


@pytest.mark.parametrize("order", [{"type": "market"}, {"type": "limit", "offset_bps": 25}])
def test_a_simulation_gives_the_same_bytes_uncompiled(
    plain: Callable[..., Any], bars_of: Maker, slots: Slots, cross_program: Documents, order: dict[str, Any]
) -> None:
    bars = bars_of(400, 3, seed=2, missing=0.05)
    events: list[AnyEvent] = [Split(100, 0, 2, 1), Split(101, 1, 1, 2), Dividend(150, 0, 7500), Dividend(151, 2, 100)]
    program = compile_program(cross_program(2, 6, weight=0.6, order=order))
    result = twice(
        plain,
        lambda: backtest(
            program, bars, instruments=slots(3, lot=2), cash=50_000_00, schedule=schedule_named("us_equity"),
            events=events, slippage=SlippageModel(7), block=150, trade_from=10,
        ),
    )  # fmt: skip
    assert len(result.fills) > 40


def test_a_small_buffer_is_emptied_and_resting_orders_cross_blocks(
    plain: Callable[..., Any], bars_of: Maker, slots: Slots, cross_program: Documents
) -> None:
    bars = bars_of(200, 2, seed=6)
    program = compile_program(cross_program(2, 4, weight=0.5, order={"type": "limit", "offset_bps": 300}))
    resting = twice(
        plain,
        lambda: backtest(
            program, bars, instruments=slots(2), cash=50_000_00, schedule=schedule_named("flat_bps"), sessions=[],
            events=[Split(90, 1, 3, 1)], block=64,
        ),
    )  # fmt: skip
    assert len(resting.fills) > 10


def test_every_operation_gives_the_same_state_uncompiled(
    plain: Callable[..., Any], bars_of: Maker, slots: Slots, program_of: Documents
) -> None:
    bars = bars_of(150, 2, seed=12, missing=0.1)
    events = timeline(bars, [Split(60, 0, 2, 1), Split(61, 1, 3, 4)])

    def flag(op: str) -> dict[str, Any]:
        return {"op": "select", "when": {"op": op, "left": CLOSE, "right": {"op": "open"}}, "then": 1, "else": 0}

    def window(op: str, of: str = "close", **more: Any) -> dict[str, Any]:
        return {"op": op, "of": {"op": of}, "window": 4, **more}

    def when(condition: dict[str, Any]) -> dict[str, Any]:
        return {"op": "select", "when": condition, "then": 1, "else": 0.5}

    def pair(op: str, left: Any, right: Any) -> dict[str, Any]:
        return {"op": op, "left": left, "right": right}

    rising = pair("gt", CLOSE, {"op": "open"})
    falling = pair("lt", window("zscore"), 0)
    targets = [
        *(flag(op) for op in ("gt", "ge", "lt", "le", "eq", "ne")),
        *(pair(op, {"op": "weekday"}, {"op": "day"}) for op in ("add", "sub", "mul", "div", "min", "max")),
        {"op": "neg", "of": {"op": "month"}},
        {"op": "abs", "of": {"op": "neg", "of": 0.25}},
        when(pair("and", rising, falling)),
        when(pair("or", rising, {"op": "not", "of": falling})),
        when({"op": "latch", "enter": rising, "exit": falling}),
        when({"op": "month_changed"}),
        pair("div", window("sma"), {"op": "lag", "of": CLOSE, "bars": 3}),
        pair("div", window("stddev", ddof=1), CLOSE),
        pair("div", window("stddev", "volume"), {"op": "lag", "of": {"op": "volume"}, "bars": 2}),
        pair("div", 1, 0),
        {"op": "return", "of": CLOSE, "bars": 5, "skip": 4},
        pair("mul", window("ema"), window("wilder", "volume")),
        pair("div", window("highest"), window("lowest")),
        {"op": "highest", "of": window("zscore"), "window": 3},
        pair("div", window("wma"), window("slope")),
        pair("div", window("sma", "volume"), window("wma", "volume")),
        {"op": "percent_rank", "of": window("mean_deviation"), "window": 3},
        {"op": "zscore", "of": window("zscore"), "window": 3},
        pair("div", {"op": "vwap"}, {"op": "typical"}),
        {"op": "obv"},
        pair("sub", {"op": "of_instrument", "of": {"op": "growth"}, "number": 2}, {"op": "instrument"}),
        pair("sub", {"op": "plus_dm"}, {"op": "minus_dm"}),
        pair("mul", {"op": "supertrend", "window": 3}, when({"op": "supertrend_up", "window": 3})),
    ]
    for target in targets:
        program = compile_program(program_of(target, rebalance="monthly"))

        def work(program: Any = program) -> tuple[bytes, Any]:
            runtime = ProgramRuntime(program, slots(2), block=40)
            last = runtime.warm_up(bars, events)
            return runtime.state(), last

        assert work() == plain(work)


def test_flat_fees_and_products_beyond_64_bits_agree_uncompiled(
    plain: Callable[..., Any], bars_of: Maker, slots: Slots, cross_program: Documents
) -> None:
    schedule = Schedule(
        "x", "x", None, {"ticket": 1, "tax": 100},
        (Rate("ticket", Base.FLAT, 123_456_789_012), Rate("tax", Base.HEADS, 180_000_000, of=("ticket",))),
    )  # fmt: skip
    program = compile_program(cross_program(2, 4))
    result = twice(
        plain,
        lambda: backtest(
            program, bars_of(120, seed=3), instruments=slots(1, qty_exp=6), cash=2**52, schedule=schedule,
            slippage=SlippageModel(1),
        ),
    )  # fmt: skip
    assert len(result.fills) > 5
    assert max(result.fills[:, 3].tolist()) * 50_0000 > 2**63


def test_futures_and_options(plain: Callable[..., Any], bars_of: Maker, slots: Slots, cross_program: Documents) -> None:
    """Margin, premiums, margin calls and expiries, in trades of both sides and in targets."""
    mixed = [
        *slots(1, currency="INR"), *slots(1, currency="INR", kind="future", multiplier=Fraction(5)),
        *slots(1, currency="INR", kind="option", strike=50_0000),
    ]  # fmt: skip
    rule = "cross_above(close, sma(close, 4))"
    both = {
        "version": 1, "name": "t", "sizing": {"type": "units", "units": 40},
        "trades": {"long": {"enter": rule, "exit": "open_profit > 5"}, "short": {"enter": f"not {rule}"}},
    }  # fmt: skip
    for number, document in enumerate((both, cross_program(2, 6, weight=0.5))):
        bars = bars_of(150, 3, seed=number, missing=0.05)
        options: dict[str, Any] = {
            "events": [Split(50, 1, 2, 1), Expiry(120, 1), Expiry(130, 2, 0)], "cash": 20_000_00,
            "terms": Terms(future_margin_bps=6000, contract_call_bps=9000), "instruments": mixed,
            "schedule": schedule_named("flat_bps"),
        }  # fmt: skip
        result = twice(plain, lambda d=document, b=bars, o=options: backtest(compile_program(d), b, **o))  # type: ignore[misc]
        assert {fill.slot for fill in result.fill_records()} == {0, 1, 2}


def test_trades_and_position_words(plain: Callable[..., Any], bars_of: Maker, slots: Slots) -> None:
    """Every kind of entry and exit, both sides, late nodes, margin, borrowing, participation and square-off."""
    entries = [
        {"type": "market"}, {"type": "limit", "price": "close - 0.3 * atr(5)"},
        {"type": "stop", "price": "close + 0.3 * atr(5)", "valid": "bar"},
        {"type": "stop_limit", "price": "close + 0.2 * atr(5)", "limit": "close + 0.6 * atr(5)"},
    ]  # fmt: skip
    for number, entry in enumerate(entries):
        bars = bars_of(160, 2, seed=number, missing=0.05)
        document = {
            "version": 1, "name": "t", "sizing": {"type": "risk", "risk_bps": 300},
            "trades": {
                "long": {"enter": "cross_above(close, sma(close, 4))", "exit": "open_profit > 5 or rank(close) == 2"},
                "short": {"enter": "cross_below(close, sma(close, 4))", "exit": "close < entry_price * 0.95"},
                "entry": entry, "stop_loss": {"percent": 3}, "trailing_stop": {"distance": "2 * atr(5)"},
                "take_profit": {"percent": 4}, "time_exit": 9,
            },
        }  # fmt: skip
        options: dict[str, Any] = {
            "terms": Terms(Intrabar(number % 2), participation_bps=50, margin_bps=5000, borrow_bps=500),
            "schedule": schedule_named("us_equity"), "cash": 100_000_00, "events": [Split(70, 0, 2, 1)],
            "instruments": slots(2, product=Product.INTRADAY if number == 3 else Product.DELIVERY),
        }  # fmt: skip
        result = twice(plain, lambda d=document, b=bars, o=options: backtest(compile_program(d), b, **o))  # type: ignore[misc]
        assert len(result.fills) > 10


def test_finer_bars_exits_by_limit_and_interest(plain: Callable[..., Any], bars_of: Maker, slots: Slots) -> None:
    """The policy LOWER with and without finer bars of a row, capped volume, a split, both validities."""
    for number, valid in enumerate(("bar", "till_cancelled")):
        bars = bars_of(160, 2, seed=20 + number, missing=0.05)
        kept = np.arange(160) % 5 != 0  # every fifth row has none
        finer = Bars(bars.times[kept], bars.days[kept], bars.fields[:, :, kept], bars.valid[:, kept])
        document = {
            "version": 1, "name": "t", "sizing": {"type": "units", "units": 200},
            "trades": {
                "long": {"enter": "cross_above(close, sma(close, 4))", "exit": "close < sma(close, 4)"},
                "exit_order": {"type": "limit", "price": "close + 0.4 * atr(5)", "valid": valid},
                "take_profit": {"percent": 4}, "trailing_stop": {"percent": 5}, "time_exit": 9,
            },
        }  # fmt: skip
        options: dict[str, Any] = {
            "terms": Terms(Intrabar.LOWER, participation_bps=50, interest_bps=900 * number), "cash": 100_000_00,
            "schedule": schedule_named("us_equity"), "events": [Split(70, 0, 2, 1)], "instruments": slots(2),
        }  # fmt: skip
        program = compile_program(document)

        def work(p: Any = program, b: Bars = bars, f: Bars = finer, o: dict[str, Any] = options) -> Result:
            return backtest(p, b, finer=f, **o)

        result = twice(plain, work)
        assert {fill.reason for fill in result.fill_records()} >= {"enter", "exit", "take_profit"}
        assert (result.interest > 0) == (number == 1)
