"""Finds every error code that the source can raise; `python -m tests.architecture.error_codes` writes the catalogue.

A code is a literal where it is raised, in a table of (code, kind, message), or in a call of a function of the same
module that hands it on; errors that are raised again with more detail (`error.code`) add none. All else is a finding.
"""

import ast
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.kernel.errors import Kind
from app.web.errors import RETRYABLE, STATUS
from tests.architecture.source import ROOT, Module, modules

CATALOGUE = Path("app/web/errors.json")
_KINDS = {"invalid": Kind.INVALID, "conflict": Kind.CONFLICT}
_HTTP_RAISERS = ("problem", "Malformed")
_RAISERS = (*_KINDS, *_HTTP_RAISERS, "DomainError", "not_found")
MAX_SAID = 4
_NOTHING_ELSE = re.compile(r"\{[^{}]*\}")
Names = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Raised:
    """One place that raises a code; `message` has its values as {names}."""

    code: str
    status: int
    message: str
    retryable: bool


def catalogue(root: Path) -> list[dict[str, Any]]:
    """What the catalogue must say, by code."""
    by_code: dict[str, list[Raised]] = defaultdict(list)
    for found in _all(root):
        if isinstance(found, Raised):
            by_code[found.code].append(found)
    return [
        {
            "code": code,
            "status": sorted({one.status for one in places}),
            "retryable": any(one.retryable for one in places),
            "says": _said(places),
        }
        for code, places in sorted(by_code.items())
    ]


def _said(places: list[Raised]) -> list[str]:
    """What the places say, without those that pass on what another place says."""
    said = dict.fromkeys(one.message for one in places)
    return [message for message in said if message and not _NOTHING_ELSE.fullmatch(message)][:MAX_SAID]


def unreadable(root: Path) -> list[str]:
    """Raises whose code cannot be read off the source."""
    return [found for found in _all(root) if isinstance(found, str)]


def stale(root: Path) -> list[str]:
    """Codes that the catalogue lacks, has too many, or describes otherwise than the source."""
    written = {entry["code"]: entry for entry in json.loads((root / CATALOGUE).read_text())}
    present = {entry["code"]: entry for entry in catalogue(root)}
    wrong = sorted(code for code in written.keys() | present.keys() if written.get(code) != present.get(code))
    return [f"{CATALOGUE}: {code}: run python -m tests.architecture.error_codes" for code in wrong]


def _all(root: Path) -> Iterator[Raised | str]:
    for module in modules(root, "app"):
        if module.name == "app.kernel.errors":
            yield from _of_kinds_of_error(module)
            continue
        forwarders = dict(_forwarders(module))
        for scope in ast.walk(module.tree):
            if isinstance(scope, ast.Tuple):
                yield from _of_tuple(scope)
            if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from _of_function(module, scope, forwarders)
            if module.name == "app.web.errors" and isinstance(scope, ast.Assign):
                yield from _of_http_table(scope)


def _of_kinds_of_error(module: Module) -> Iterator[Raised]:
    """Errors that are a class of their own: the code stands in what they hand to `DomainError`."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "super().__init__" and len(node.args) == 3:
            kind = _kind(node.args[1])
            if kind is not None and isinstance(node.args[0], ast.Constant):
                yield _raised(str(node.args[0].value), kind, _text(node.args[2], {}), retry=False)


def _forwarders(module: Module) -> Iterator[tuple[str, Kind]]:
    """Functions that take a code and hand it to `DomainError`."""
    for function in ast.walk(module.tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        taken = {argument.arg for argument in function.args.args}
        for call in _calls(function, ("DomainError",)):
            code = call.args[0]
            if isinstance(code, ast.Name) and code.id in taken and len(call.args) > 1:
                yield function.name, _kind(call.args[1]) or Kind.INVALID


def _calls(function: ast.AST, names: tuple[str, ...]) -> Iterator[ast.Call]:
    """The calls of `names` in a function, those of inner functions left to them."""
    for node in ast.iter_child_nodes(function):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            yield node
        yield from _calls(node, names)


def _of_function(
    module: Module, function: ast.FunctionDef | ast.AsyncFunctionDef, forwarders: Mapping[str, Kind]
) -> Iterator[Raised | str]:
    for call in _calls(function, (*_RAISERS, *forwarders)):
        names = _assigned(function, before=call.lineno)
        assert isinstance(call.func, ast.Name)
        if not call.args or (function.name in forwarders and call.func.id == "DomainError"):
            continue
        if isinstance(call.args[0], ast.Starred) or ast.unparse(call.args[0]).endswith("error.code"):
            continue
        found = _of_call(call, forwarders, names)
        if found is not None:
            yield found
        elif call.func.id not in _HTTP_RAISERS:
            yield module.says(call.lineno, f"the code of {ast.unparse(call)[:80]} cannot be read")


def _of_call(call: ast.Call, forwarders: Mapping[str, Kind], names: Names) -> Raised | None:
    assert isinstance(call.func, ast.Name)
    name, arguments = call.func.id, call.args
    retry = any(word.arg == "retry_after_s" for word in call.keywords)
    if name == "problem":
        return _http(arguments[0], arguments[1], _text(arguments[2], names))
    if name == "Malformed":
        status = next((word.value for word in call.keywords if word.arg == "status"), ast.Constant(400))
        return _http(status, arguments[0], _text(arguments[1], names))
    if not isinstance(arguments[0], ast.Constant):
        return None
    code = str(arguments[0].value)
    if name == "not_found":
        what = code.replace("_", " ")
        return _raised(f"{code}_not_found", Kind.NOT_FOUND, f"No {what} has the id {{id}}.", retry=False)
    kind = _KINDS.get(name) or forwarders.get(name) or _kind(arguments[1])
    if kind is None:
        return None
    message = arguments[2] if name == "DomainError" else arguments[1]
    return _raised(code, kind, _text(message, names), retry=retry)


def _http(status: ast.expr, code: ast.expr, message: str) -> Raised | None:
    if isinstance(status, ast.Constant) and isinstance(code, ast.Constant):
        number = int(str(status.value))
        return Raised(str(code.value), number, message, number in RETRYABLE)
    return None


def _of_tuple(node: ast.Tuple) -> Iterator[Raised]:
    """A row of a table of errors."""
    if len(node.elts) == 3 and isinstance(node.elts[0], ast.Constant):
        kind = _kind(node.elts[1])
        if kind is not None:
            yield _raised(str(node.elts[0].value), kind, _text(node.elts[2], {}), retry=False)


def _of_http_table(node: ast.Assign) -> Iterator[Raised]:
    if isinstance(node.targets[0], ast.Name) and node.targets[0].id == "_HTTP":
        for status, (code, said) in ast.literal_eval(node.value).items():
            yield Raised(code, status, said, status in RETRYABLE)


def _raised(code: str, kind: Kind, message: str, *, retry: bool) -> Raised:
    return Raised(code, STATUS[kind], message, retry or STATUS[kind] in RETRYABLE)


def _kind(node: ast.expr) -> Kind | None:
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Kind":
        return Kind[node.attr]
    return None


def _assigned(function: ast.AST, *, before: int) -> dict[str, str]:
    """The text that each name such as `reason` had at a line: what it was given last."""
    found: dict[str, str] = {}
    given = [node for node in ast.walk(function) if isinstance(node, ast.Assign) and node.lineno < before]
    for node in sorted(given, key=lambda one: one.lineno):
        target, value = node.targets[0], node.value
        is_text = isinstance(value, ast.JoinedStr) or (isinstance(value, ast.Constant) and isinstance(value.value, str))
        if isinstance(target, ast.Name) and is_text:
            found[target.id] = _text(value, {})
    return found


def _text(node: ast.expr, names: Names) -> str:
    """A message with its values as {names}; names that the function gave a text are that text."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part, names) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return _text(node.value, names)
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.JoinedStr):  # a message cut to a length
        return _text(node.value, names)
    if isinstance(node, ast.Name) and node.id in names:
        return names[node.id]
    return f"{{{_name(node)}}}"


def _name(node: ast.expr) -> str:
    """The word that stands for an expression: the last one of `instrument["symbol"]`, the first one otherwise."""
    words = [word for part in ast.walk(node) if (word := _word(part))]
    word = words[-1 if isinstance(node, ast.Subscript) else 0] if words else "value"
    return word.strip("_").replace("_", " ").lower()


def _word(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
        return node.value
    return ""


def main() -> None:
    """Write the catalogue."""
    entries = catalogue(ROOT)
    (ROOT / CATALOGUE).write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n")
    print(f"{CATALOGUE}: {len(entries)} codes")
    for finding in unreadable(ROOT):
        print(finding)


if __name__ == "__main__":
    main()
