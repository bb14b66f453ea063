"""Admission: what a program may be, and what a refusal says."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from app.engine.document import Document, parse_document
from app.engine.program import compile_program
from app.kernel.errors import DomainError

Documents = Callable[..., dict[str, Any]]
CLOSE = {"op": "close"}


def refusal(document: Any, parameters: dict[str, Any] | None = None) -> DomainError:
    with pytest.raises(DomainError) as error:
        compile_program(document, parameters)
    assert error.value.code == "invalid_program"
    assert error.value.param is not None and error.value.message.startswith(error.value.param)
    return error.value


def nest(depth: int) -> Any:
    expression: Any = 1
    for _ in range(depth):
        expression = {"op": "neg", "of": expression}
    return expression


def wide(count: int) -> Any:
    items: list[Any] = [{"op": "sma", "of": CLOSE, "window": i + 1} for i in range(count)]
    while len(items) > 1:
        items = [{"op": "add", "left": a, "right": b} for a, b in zip(items[::2], items[1::2], strict=False)] + (
            [items[-1]] if len(items) % 2 else []
        )
    return {"op": "select", "when": {"op": "gt", "left": items[0], "right": 0}, "then": 1, "else": 0}


@pytest.mark.parametrize(
    ("target", "path", "words"),
    [
        (None, "target", "must be a number"),
        (True, "target", "must be a number"),
        ([], "target", "must be a number"),
        ({}, "target.op", "unknown operation"),
        ({"op": "moon"}, "target.op", "unknown operation 'moon'"),
        ({"op": ["close"]}, "target.op", "unknown operation"),
        ({"param": "n"}, "target.param", "unknown parameter 'n'"),
        ({"param": "known", "op": "close"}, "target.param", "unknown parameter"),
        (float("nan"), "target", "finite"),
        (10**400, "target", "finite"),
        ({"op": "sma", "of": CLOSE}, "target.window", "missing"),
        ({"op": "sma", "window": 3}, "target.of", "needs it"),
        ({"op": "sma", "of": CLOSE, "window": 0}, "target.window", "from 1 to 5000"),
        ({"op": "sma", "of": CLOSE, "window": 5001}, "target.window", "from 1 to 5000"),
        ({"op": "sma", "of": CLOSE, "window": 2.5}, "target.window", "whole number"),
        ({"op": "sma", "of": CLOSE, "window": True}, "target.window", "whole number"),
        ({"op": "sma", "of": CLOSE, "window": {"x": 1}}, "target.window", "missing|whole number"),
        ({"op": "wma", "of": {"op": "neg", "of": CLOSE}, "window": 2}, "target.of", "exact on bar fields"),
        ({"op": "sma", "of": {"op": "neg", "of": CLOSE}, "window": 501}, "target.window", "at most 500"),
        ({"op": "of_instrument", "of": CLOSE, "number": 2}, "target.of", "must be a ratio"),
        ({"op": "trend_line", "upper": {"op": "volume"}, "lower": 1}, "target", "bands must be prices"),
        ({"op": "stddev", "of": CLOSE, "window": 1}, "target.window", "from 2"),
        ({"op": "zscore", "of": CLOSE, "window": 9, "ddof": 2}, "target.ddof", "from 0 to 1"),
        ({"op": "return", "of": CLOSE, "bars": 5, "skip": 5}, "target.skip", "less than bars"),
        ({"op": "return", "of": CLOSE, "bars": 5, "skip": -1}, "target.skip", "look ahead"),
        ({"op": "lag", "of": CLOSE, "bars": -1}, "target.bars", "look ahead"),
        ({"op": "lag", "of": CLOSE, "bars": 1, "ahead": 1}, "target.ahead", "no such argument"),
        ({"op": "gt", "left": 1, "right": 2}, "target", "must be a number, not a condition"),
        ({"op": "and", "left": 1, "right": 2}, "target.left", "must be a condition, not a number"),
        ({"op": "add", "left": CLOSE, "right": {"op": "volume"}}, "target", "follow a split differently"),
        ({"op": "select", "when": {"op": "month_changed"}, "then": 1}, "target.else", "needs it"),
        (nest(40), "target" + ".of" * 32, "nested deeper than 32"),
    ],
)
def test_a_refusal_names_the_path_and_the_reason(program_of: Documents, target: Any, path: str, words: str) -> None:
    import re

    error = refusal(program_of(target, parameters={"known": 1}))
    assert error.param == path
    assert re.search(words, error.message)


def test_a_program_of_too_many_nodes_is_refused_and_one_at_the_limit_is_not(program_of: Documents) -> None:
    assert "at most 256" in refusal(program_of(wide(140))).message
    assert compile_program(program_of(wide(60))).nodes < 256


def test_a_document_that_repeats_itself_endlessly_is_refused_early(program_of: Documents) -> None:
    expression: Any = CLOSE
    for _ in range(20):
        expression = {"op": "add", "left": expression, "right": expression}
    assert "more than 4096" in refusal(program_of(expression)).message


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"version": 2}, "version"),
        ({"rebalance": "hourly"}, "rebalance"),
        ({"surprise": 1}, "surprise"),
        ({"order": {"type": "stop"}}, "order"),
        ({"order": {"type": "limit", "offset_bps": -1}}, "order.limit.offset_bps"),
        ({"reserve_bps": 9000}, "reserve_bps"),
        ({"name": ""}, "name"),
    ],
)
def test_the_outer_shape_is_checked(program_of: Documents, change: dict[str, Any], path: str) -> None:
    assert refusal(program_of(1) | change).param == path


def test_a_document_that_is_no_object_is_refused() -> None:
    assert refusal([]).param == "program"


def test_parameters_override_by_name_and_must_be_known_numbers(program_of: Documents) -> None:
    document = program_of({"op": "sma", "of": CLOSE, "window": {"param": "n"}}, parameters={"n": 5})
    assert compile_program(document).warm_up == 5
    assert compile_program(document, {"n": 7}).warm_up == 7
    assert "it has: n" in refusal(document, {"m": 1}).message
    assert refusal(document, {"n": float("inf")}).param == "parameters.n"
    assert refusal(document, {"n": 10**400}).param == "parameters.n"
    assert refusal(document, {"n": True}).param == "parameters.n"
    assert refusal(document | {"parameters": {"n": True}}).param == "parameters.n.int"
    assert refusal(document, {"n": 0}).param == "target.window"


def test_the_digest_is_of_what_is_computed(program_of: Documents) -> None:
    literal = program_of({"op": "sma", "of": CLOSE, "window": 5})
    named = program_of({"op": "sma", "of": CLOSE, "window": {"param": "n"}}, parameters={"n": 9}, name="other")
    assert compile_program(literal).digest == compile_program(named, {"n": 5}).digest
    assert compile_program(literal) == compile_program(named, {"n": 5})
    assert hash(compile_program(literal)) == hash(compile_program(named, {"n": 5}))
    different = [
        compile_program(named).digest,
        compile_program(program_of({"op": "sma", "of": {"op": "open"}, "window": 5})).digest,
        compile_program(literal | {"rebalance": "monthly"}).digest,
        compile_program(literal | {"reserve_bps": 7}).digest,
        compile_program(literal | {"order": {"type": "limit"}}).digest,
    ]
    assert len({compile_program(literal).digest, *different}) == 6
    assert compile_program(literal) != "program"


def test_equal_expressions_are_computed_once(program_of: Documents) -> None:
    mean = {"op": "sma", "of": CLOSE, "window": 5}
    program = compile_program(program_of({"op": "div", "left": mean, "right": mean}))
    assert program.nodes == 2  # the field is read by the mean itself
    assert program.cost(bars=1000, instruments=4) == 8_000


def test_warm_up_adds_up_along_the_longest_path(program_of: Documents) -> None:
    slow = {"op": "lag", "of": {"op": "sma", "of": CLOSE, "window": 10}, "bars": 3}
    program = compile_program(program_of({"op": "div", "left": slow, "right": {"op": "sma", "of": CLOSE, "window": 4}}))
    assert program.warm_up == 13


def test_a_document_survives_json(program_of: Documents) -> None:
    document = program_of({"op": "div", "left": CLOSE, "right": {"op": "lag", "of": CLOSE, "bars": 1}})
    again = parse_document(json.loads(json.dumps(document)))
    assert isinstance(again, Document)
    assert compile_program(again).digest == compile_program(document).digest
    assert json.loads(json.dumps(Document.model_json_schema()))["title"] == "Document"
