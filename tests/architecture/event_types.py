"""Finds every event type that slices declare and that the source emits; `python -m tests.architecture.event_types`
writes the catalogue.

A type is a literal where it is emitted, or begins with one (`f"backtest.{status}"`, `'order.' || o.status`): then it
stands for every declared type that begins so. All else is a finding.
"""

import ast
import importlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.kernel.events import EventType, matches
from tests.architecture.source import ROOT, Module, modules

CATALOGUE = Path("app/web/events.json")
_SQL_CALL = re.compile(r"(FUNCTION\s+)?\bevents_append\(\s*(?:'([^']*)'(\s*\|\|)?|([^,)]*))", re.IGNORECASE)
_APPENDS = "app/infra/events/sql"
"""Where the SQL function itself is."""


@dataclass(frozen=True, slots=True)
class Emitted:
    """One place that emits. `pattern` ends with a star where the rest of the type is computed."""

    pattern: str
    where: str


def declared() -> list[EventType]:
    """What every `EVENTS` of the application declares, by name. Raises when two declare one name."""
    found: dict[str, EventType] = {}
    for module in modules(ROOT, "app"):
        if any(_assigns_events(node) for node in module.tree.body):
            for event_type in importlib.import_module(module.name).EVENTS:
                if event_type.name in found:
                    raise ValueError(f"{event_type.name} is declared twice, the second time in {module.name}")
                found[event_type.name] = event_type
    return [found[name] for name in sorted(found)]


def _assigns_events(node: ast.stmt) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return any(isinstance(target, ast.Name) and target.id == "EVENTS" for target in targets)


def catalogue(types: Iterable[EventType]) -> list[dict[str, Any]]:
    """The entries of the file."""
    return [
        {
            "name": one.name,
            "version": one.version,
            "subject": one.subject,
            "says": one.says,
            "payload": one.payload.model_json_schema(),
        }
        for one in types
    ]


def stale(root: Path, types: Iterable[EventType]) -> list[str]:
    """Types that the catalogue lacks, has too many, or describes otherwise than their slice."""
    written = {entry["name"]: entry for entry in json.loads((root / CATALOGUE).read_text())}
    present = {entry["name"]: entry for entry in catalogue(types)}
    wrong = sorted(name for name in written.keys() | present.keys() if written.get(name) != present.get(name))
    return [f"{CATALOGUE}: {name}: run python -m tests.architecture.event_types" for name in wrong]


def undeclared(root: Path, names: Iterable[str]) -> list[str]:
    """Places that emit what no slice declares, or whose type cannot be read."""
    known = list(names)
    findings = []
    for found in _emitted(root):
        if isinstance(found, str):
            findings.append(found)
        elif not any(matches(found.pattern, name) for name in known):
            findings.append(f"{found.where} emits {found.pattern}; declare it in the EVENTS of the slice's domain")
    return findings


def unused(root: Path, names: Iterable[str]) -> list[str]:
    """Types that are declared in vain."""
    patterns = [found.pattern for found in _emitted(root) if isinstance(found, Emitted)]
    return [
        f"{name}: nothing emits it; delete the declaration"
        for name in names
        if not any(matches(pattern, name) for pattern in patterns)
    ]


def at_odds(types: Iterable[EventType]) -> list[str]:
    """Families whose types name different subjects."""
    prefixes: dict[str, set[str]] = defaultdict(set)
    for one in types:
        prefixes[one.family].add(one.subject)
    return [
        f"{family}.*: subjects {', '.join(sorted(found))}; a family has one kind of subject"
        for family, found in sorted(prefixes.items())
        if len(found) > 1
    ]


def undescribed(types: Iterable[EventType]) -> list[str]:
    """Fields of payloads that say nothing of themselves."""
    return [
        f"{one.name}: the field {name} of its payload has no description"
        for one in types
        for schema in (one.payload.model_json_schema(),)
        for model in (schema, *schema.get("$defs", {}).values())
        for name, field in model.get("properties", {}).items()
        if not field.get("description")
    ]


def _emitted(root: Path) -> Iterator[Emitted | str]:
    for module in modules(root, "app"):
        yield from _of_python(module)
    for path in sorted((root / "app").rglob("*.sql")):
        where = path.relative_to(root).as_posix()
        if not where.startswith(_APPENDS):
            yield from _of_sql(where, path.read_text(encoding="utf-8"))


def _of_python(module: Module) -> Iterator[Emitted | str]:
    for call in ast.walk(module.tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "emit":
            pattern = _pattern(call.args[0]) if call.args else ""
            where = f"{module.where}:{call.lineno}"
            yield Emitted(pattern, where) if pattern else f"{where} the type of what it emits cannot be read"


def _pattern(node: ast.expr) -> str:
    """The type, or what it begins with and a star; empty when it begins with nothing known."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
        return f"{node.values[0].value!s}*"
    return ""


def _of_sql(where: str, text: str) -> Iterator[Emitted | str]:
    for found in _SQL_CALL.finditer(text):
        defines, literal, goes_on, _ = found.groups()
        place = f"{where}:{text.count(chr(10), 0, found.start()) + 1}"
        if literal is None or defines:
            yield f"{place} the type of what it emits cannot be read"
        else:
            yield Emitted(f"{literal}*" if goes_on else literal, place)


def main() -> None:
    """Write the catalogue."""
    types = declared()
    (ROOT / CATALOGUE).write_text(json.dumps(catalogue(types), indent=1, ensure_ascii=False) + "\n")
    print(f"{CATALOGUE}: {len(types)} types")
    names = [one.name for one in types]
    for finding in (*undeclared(ROOT, names), *unused(ROOT, names), *at_odds(types), *undescribed(types)):
        print(finding)


if __name__ == "__main__":
    main()
