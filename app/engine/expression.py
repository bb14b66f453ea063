"""Decides the written form of an expression, and turns it into the JSON form: one language, one digest.

Python's grammar of expressions, a closed part of it: numbers, names, + - * / %, comparisons, `and or not`,
`x if condition else y`, and calls of words. `close > sma(close, slow)` reads parameters and bar fields by name; the
inputs of a word come first, then its integers, in the order of the language's schema, or by keyword. Nothing is ever
evaluated here.
"""

import ast
from collections.abc import Collection
from typing import Any

from app.engine.macros import MACROS
from app.engine.nodes import MAX_DEPTH, WORDS
from app.engine.parsing import parse
from app.kernel.errors import DomainError, invalid

MAX_LENGTH = 4000
_UNARY: dict[type[ast.unaryop], str] = {ast.USub: "neg", ast.Not: "not"}
_BINARY: dict[type[ast.operator], str] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.Mod: "mod",
}  # fmt: skip
_COMPARE: dict[type[ast.cmpop], str] = {
    ast.Gt: "gt", ast.GtE: "ge", ast.Lt: "lt", ast.LtE: "le", ast.Eq: "eq", ast.NotEq: "ne",
}  # fmt: skip
_KEYWORDS = {"and_": "and", "or_": "or", "not_": "not", "return_": "return"}
"""Words that Python reserves are called with an underscore behind."""


def parse_expression(text: str, parameters: Collection[str], path: str) -> Any:
    """The JSON form of `text`. Raises `invalid_program` at `path` with the column (from 1) of the fault."""
    if len(text) > MAX_LENGTH:
        raise invalid("invalid_program", f"{path}: longer than {MAX_LENGTH} characters", param=path)
    try:
        tree = parse(text.strip())
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = f"column {error.offset}: {error.msg}" if isinstance(error, SyntaxError) else "cannot be read"
        raise invalid("invalid_program", f"{path}: {reason}", param=path) from None
    return _Reader(parameters, path).read(tree, 1)


class _Reader:
    def __init__(self, parameters: Collection[str], path: str) -> None:
        self.parameters = parameters
        self.path = path

    def fault(self, node: ast.expr, reason: str) -> DomainError:
        return invalid("invalid_program", f"{self.path}: column {node.col_offset + 1}: {reason}", param=self.path)

    def read(self, node: ast.expr, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise self.fault(node, f"nested deeper than {MAX_DEPTH} levels")
        below = depth + 1
        match node:
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                return number
            case ast.Name(id=name):
                return self.name(node, name)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
                return -number
            case ast.Call(func=ast.Name(id=name)):
                return self.call(node, _KEYWORDS.get(name, name), below)
            case ast.BoolOp(op=op, values=values):
                return self.joined("and" if isinstance(op, ast.And) else "or", values, below)
            case ast.Compare(ops=[_, _, *_]):
                raise self.fault(node, "compare two values; join comparisons with `and`")
        word, parts = _operator(node)
        if word is None:
            raise self.fault(node, "is not part of the language")
        return {"op": word, **{key: self.read(part, below) for key, part in parts.items()}}

    def name(self, node: ast.expr, name: str) -> Any:
        if name in self.parameters:
            return {"param": name}
        if name in WORDS or name in MACROS:
            return {"op": name}
        raise self.fault(node, f"{name[:40]!r} is neither a parameter nor a word")

    def joined(self, op: str, values: list[ast.expr], depth: int) -> Any:
        found = self.read(values[0], depth)
        for value in values[1:]:
            found = {"op": op, "left": found, "right": self.read(value, depth)}
        return found

    def call(self, node: ast.Call, name: str, depth: int) -> Any:
        word = WORDS.get(name) or MACROS.get(name)
        if word is None:
            raise self.fault(node, f"unknown operation {name[:40]!r}")
        known = [key for key, _ in word.inputs] + [argument.name for argument in word.arguments]
        if len(node.args) > len(known):
            raise self.fault(node, f"{name!r} takes {', '.join(known) or 'no arguments'}")
        found: dict[str, Any] = {"op": name}
        for key, value in zip(known, node.args, strict=False):
            found[key] = self.read(value, depth)
        for keyword in node.keywords:
            key = (keyword.arg or "**").rstrip("_")
            if key in found or key not in known:
                raise self.fault(keyword.value, f"{name!r} has no (second) argument {key!r}")
            found[key] = self.read(keyword.value, depth)
        return found


def _operator(node: ast.expr) -> tuple[str | None, dict[str, ast.expr]]:
    """The word that an operator stands for, and its inputs; None when the language has no such operator."""
    match node:
        case ast.UnaryOp(op=op, operand=of):
            return _UNARY.get(type(op)), {"of": of}
        case ast.BinOp(left=left, op=op, right=right):
            return _BINARY.get(type(op)), {"left": left, "right": right}
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return _COMPARE.get(type(op)), {"left": left, "right": right}
        case ast.IfExp(test=when, body=then, orelse=other):
            return "select", {"when": when, "then": then, "else": other}
    return None, {}
