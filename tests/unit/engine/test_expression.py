"""The written form says the same as the JSON form, and refuses what is outside the language."""

import gc
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.expression import parse_expression
from app.engine.program import compile_program
from app.kernel.errors import DomainError

CLOSE, HIGH = {"op": "close"}, {"op": "high"}
PARAMETERS = {"fast": 10, "slow": 30}


def digest(target: Any) -> str:
    return compile_program(
        {"version": 1, "name": "one", "parameters": PARAMETERS, "target": target, "rebalance": "on_change"}
    ).digest


def pair(op: str, left: Any, right: Any) -> dict[str, Any]:
    return {"op": op, "left": left, "right": right}


def mean(window: Any) -> dict[str, Any]:
    return {"op": "sma", "of": CLOSE, "window": window}


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("1", 1),
        ("-0.5", -0.5),
        ("fast / 100", {"op": "div", "left": {"param": "fast"}, "right": 100}),
        (
            "1 if sma(close, fast) > sma(close, window=slow) else 0",
            {
                "op": "select",
                "when": {"op": "gt", "left": mean({"param": "fast"}), "right": mean({"param": "slow"})},
                "then": 1,
                "else": 0,
            },
        ),
        ("zscore(close, 20, ddof=1) + 2", pair("add", {"op": "zscore", "of": CLOSE, "window": 20, "ddof": 1}, 2)),
        ("return_(close, 20, skip=2)", {"op": "return", "of": CLOSE, "bars": 20, "skip": 2}),
        (
            "select(not close >= high and month != 2, 1, 0)",
            {
                "op": "select",
                "when": {
                    "op": "and",
                    "left": {"op": "not", "of": {"op": "ge", "left": CLOSE, "right": HIGH}},
                    "right": {"op": "ne", "left": {"op": "month"}, "right": 2},
                },
                "then": 1,
                "else": 0,
            },
        ),
        ("(rsi(close) - 50) / 100", pair("div", pair("sub", {"op": "rsi", "of": CLOSE}, 50), 100)),
        (
            "1 if latch(enter=close < 1, exit=close > 2) else 0",
            {
                "op": "select",
                "when": {"op": "latch", "enter": pair("lt", CLOSE, 1), "exit": pair("gt", CLOSE, 2)},
                "then": 1,
                "else": 0,
            },
        ),
    ],
)  # fmt: skip
def test_the_written_form_has_the_digest_of_the_json_form(text: str, tree: Any) -> None:
    assert parse_expression(text, PARAMETERS, "target") == tree
    assert digest(text) == digest(tree)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "column"),
        ("close >", "invalid syntax"),
        ("nothing", "neither a parameter nor a word"),
        ("magic(close)", "unknown operation 'magic'"),
        ("close.real", "column 1: is not part of the language"),
        ("__import__('os')", "unknown operation"),
        ("[1][0]", "not part of the language"),
        ("'text'", "not part of the language"),
        ("True", "not part of the language"),
        ("1j", "not part of the language"),
        ("close ** 2", "not part of the language"),
        ("lambda: 1", "not part of the language"),
        ("1 < close < 2", "join comparisons"),
        ("sma(close, 10, 20)", "takes of, window"),
        ("sma(close, windows=10)", "has no (second) argument 'windows'"),
        ("sma(close, 10, window=5)", "has no (second) argument 'window'"),
        ("sma(*close)", "not part of the language"),
        ("sma(**close)", "has no (second) argument"),
        ("-" * 100 + "close", "nested deeper than 32"),
        ("(" * 1000 + "1" + ")" * 1000, "target: "),
        ("1 + " * 1200 + "1", "longer than 4000"),
        ("sma(close, 0)", "target.window: must be from 1"),
        ("lag(close, -1)", "would look ahead"),
    ],
)
def test_what_is_outside_is_refused_with_its_place(text: str, reason: str) -> None:
    with pytest.raises(DomainError) as refused:
        digest(text)
    assert refused.value.code == "invalid_program"
    assert reason in str(refused.value)


@given(st.text(alphabet="closema(),.+-*/<>= 0123456789if_[]\n'\x00", max_size=60))
def test_any_text_compiles_or_is_refused(text: str) -> None:
    try:
        digest(text)
    except DomainError as error:
        assert error.code == "invalid_program"


@pytest.fixture
def _threads_that_change_often() -> Iterator[None]:
    """Collects at every object, and a collected object lets another thread go on: in the midst of a parse."""
    interval, threshold = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(1)
    yield
    gc.set_threshold(*threshold)
    sys.setswitchinterval(interval)


class _Garbage:
    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        for _ in range(30):
            pass


@pytest.mark.usefixtures("_threads_that_change_often")
def test_threads_may_read_expressions_at_once() -> None:
    text = " + ".join(f"close * (slow - {number})" for number in range(20))

    def read(_: int) -> Any:
        _Garbage()
        return parse_expression(text, PARAMETERS, "target")

    with ThreadPoolExecutor(4) as threads:
        trees = list(threads.map(read, range(120)))
    assert all(tree == trees[0] for tree in trees)
