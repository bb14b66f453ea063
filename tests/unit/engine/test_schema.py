"""The published schema admits what the compiler admits, as far as shapes go."""

from typing import Any

import jsonschema
import pytest

from app.engine.program import compile_program
from app.engine.schema import program_schema
from app.kernel.errors import DomainError
from app.trading.strategies.service.definitions import templates

SCHEMA = program_schema()
CLOSE = {"op": "close"}


def document(target: Any, **more: Any) -> dict[str, Any]:
    return {"version": 1, "name": "one", "target": target, "rebalance": "on_change", **more}


def admits(program: dict[str, Any]) -> bool:
    return bool(jsonschema.Draft202012Validator(SCHEMA).is_valid(program))


def compiles(program: dict[str, Any]) -> bool:
    try:
        compile_program(program)
    except DomainError:
        return False
    return True


def test_schema_is_itself_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", sorted(templates()))
def test_schema_admits_the_library(name: str) -> None:
    template = templates()[name]
    assert admits(template.build(template.parse({}), template.most or 3))


@pytest.mark.parametrize("name", [n.removeprefix("word_") for n in SCHEMA["$defs"] if n.startswith("word_")])
def test_schema_and_compiler_agree_on_every_word(name: str) -> None:
    shape = SCHEMA["$defs"][f"word_{name}"]
    word: dict[str, Any] = {"op": name}
    for key in shape["required"][1:]:
        part = shape["properties"][key]
        kind = part.get("$ref", "").removeprefix("#/$defs/")
        ratio = {"op": "div", "left": CLOSE, "right": CLOSE}
        number = ratio if name == "of_instrument" else CLOSE
        word[key] = (
            number if kind == "number" else {"op": "gt", "left": CLOSE, "right": 1} if kind == "condition" else 5
        )
    is_condition = {"$ref": f"#/$defs/word_{name}"} in SCHEMA["$defs"]["condition"]["anyOf"]
    target = {"op": "select", "when": word, "then": 1, "else": 0} if is_condition else word
    good = document(target)
    assert admits(good) and compiles(good)
    for wrong in (document(word | {"unknown": 1}), document({k: v for k, v in word.items() if k != "op"})):
        assert not admits(wrong) and not compiles(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        document({"op": "sma", "of": CLOSE, "window": 0}),
        document({"op": "sma", "of": CLOSE, "window": 5001}),
        document({"op": "lag", "of": CLOSE, "bars": -1}),
        document({"op": "lag", "of": CLOSE}),
        document({"op": "nonsense"}),
        document({"op": "gt", "left": CLOSE, "right": 1}),
        document({"op": "select", "when": CLOSE, "then": 1, "else": 0}),
        document(1, sizing={"type": "units"}),
        document(1, version=2),
        document(1, extra=True),
        document([]),
        document("1" * 4001),
    ],
)
def test_schema_and_compiler_refuse_the_same(wrong: dict[str, Any]) -> None:
    assert not admits(wrong)
    assert not compiles(wrong)


TRADES: dict[str, Any] = {
    "long": {"enter": "close > 1", "exit": {"op": "lt", "left": CLOSE, "right": 1}},
    "entry": {"type": "stop_limit", "price": "close + 1", "limit": {"op": "high"}},
    "stop_loss": {"percent": 1},
    "trailing_stop": {"distance": "atr(14)"},
}


def trading(**changes: Any) -> dict[str, Any]:
    return {"version": 1, "name": "one", "trades": TRADES | changes}


def test_schema_admits_trades() -> None:
    exits = [{"type": "market"}, {"type": "limit", "price": {"op": "high"}, "valid": "bar"}]
    for one in (trading(), *(trading(exit_order=order) for order in exits)):
        assert admits(one) and compiles(one)


@pytest.mark.parametrize(
    "wrong",
    [
        trading(entry={"type": "limit", "price": {"op": "nonsense"}}),
        trading(long={"enter": CLOSE}),
        trading(stop_loss={"percent": [1]}),
        trading(share={"op": "sma"}),
        trading(time_exit=0),
        trading(exit_order={"type": "limit"}),
        trading(exit_order={"type": "limit", "price": {"op": "nonsense"}}),
        trading(exit_order={"type": "limit", "price": 1, "valid": "day"}),
        trading(exit_order={"type": "stop", "price": 1}),
    ],
)
def test_schema_and_compiler_refuse_the_same_trades(wrong: dict[str, Any]) -> None:
    assert not admits(wrong) and not compiles(wrong)
