"""Writes the strategy language as JSON schema, from the words themselves: what it admits is what the compiler reads."""

from collections.abc import Iterator
from typing import Any

from app.engine.document import Document
from app.engine.expression import MAX_LENGTH
from app.engine.layout import ENGINE_VERSION
from app.engine.macros import MACROS, Macro
from app.engine.nodes import MAX_DEPTH, MAX_NODES, WORDS, Argument, Word
from app.engine.program import MAX_NUMBER

_NUMBER, _CONDITION, _PARAMETER = ({"$ref": f"#/$defs/{name}"} for name in ("number", "condition", "parameter"))


def program_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a program document.

    It states shapes and bounds. What needs the whole program (units, nodes, look-back, parameters that exist) is
    checked by `compile_program` alone.
    """
    schema = Document.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = f"Mandi strategy program, engine {ENGINE_VERSION}"
    written = {"type": "string", "maxLength": MAX_LENGTH, "description": "The written form: close / sma(close, 50)."}
    for place, name, kind in _expressions(schema):
        place[name] |= {"anyOf": [kind, written]}
    words: dict[str, Word | Macro] = {**WORDS, **MACROS}
    conditions = [name for name, word in words.items() if word.kind == "condition"]
    numbers = [name for name in words if name not in conditions]
    schema["$defs"] |= {
        "parameter": {
            "type": "object",
            "properties": {"param": {"type": "string"}},
            "required": ["param"],
            "additionalProperties": False,
            "description": "The value of a parameter.",
        },
        "number": {
            "description": f"An expression; at most {MAX_DEPTH} levels, {MAX_NODES} nodes.",
            "anyOf": [
                {"type": "number", "exclusiveMinimum": -MAX_NUMBER, "exclusiveMaximum": MAX_NUMBER},
                _PARAMETER,
                *({"$ref": f"#/$defs/word_{name}"} for name in numbers),
            ],
        },
        "condition": {"anyOf": [{"$ref": f"#/$defs/word_{name}"} for name in conditions]},
        **{f"word_{name}": _word(name, word) for name, word in words.items()},
    }
    return schema


def _expressions(schema: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, dict[str, str]]]:
    """Where a document holds expressions: the properties, the name in them, and the kind."""
    parts = schema["$defs"]
    yield schema["properties"], "target", _NUMBER
    yield parts["Rule"]["properties"], "when", _CONDITION
    for name in ("enter", "exit"):
        yield parts["Side"]["properties"], name, _CONDITION
    for part, names in (
        ("LimitEntry", ["price"]),
        ("StopEntry", ["price"]),
        ("StopLimitEntry", ["price", "limit"]),
        ("LimitExit", ["price"]),
        ("Distance", ["distance", "percent"]),
        ("Trades", ["share"]),
    ):
        for name in names:
            yield parts[part]["properties"], name, _NUMBER


def _word(name: str, word: Word | Macro) -> dict[str, Any]:
    defaults = word.defaults if isinstance(word, Macro) else {}
    inputs = {key: _CONDITION if kind == "condition" else _NUMBER for key, kind in word.inputs}
    arguments = {argument.name: _argument(argument) for argument in word.arguments}
    needed = [key for key in inputs if key not in defaults]
    needed += [argument.name for argument in word.arguments if argument.default is None]
    return {
        "type": "object",
        "description": word.summary,
        "properties": {"op": {"const": name}, **inputs, **arguments},
        "required": ["op", *needed],
        "additionalProperties": False,
    }


def _argument(argument: Argument) -> dict[str, Any]:
    number: dict[str, Any] = {"type": "integer", "minimum": argument.least, "maximum": argument.most}
    return {"anyOf": [number, _PARAMETER]} | ({} if argument.default is None else {"default": argument.default})
