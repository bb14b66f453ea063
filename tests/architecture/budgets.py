"""Sizes (rules 10 and 19): of files, functions, fan-in of slices, and of a worker's tasks."""

import ast
from pathlib import Path

from tests.architecture.source import Module, dotted, functions, modules, slice_of

FILE_LINES = 400
FUNCTION_LINES = 70
SLICES = 8
USE_CASE_SLICES = 10
TASK_LINES = 10
_MANY_SLICES = ("app.main", "app.bootstrap", "app.local", "app.cli", "tests", "migrations", "workers")
"""Wiring: they exist to know many slices."""
_GENERATED = "migrations/versions/"


def sizes(root: Path) -> list[str]:
    """Files and functions beyond their budget. Generated migrations are exempt."""
    findings = []
    for module in _ours(root):
        if module.lines > FILE_LINES:
            findings.append(module.says(1, f"{module.lines} lines; a file has at most {FILE_LINES}"))
        for function in functions(module.tree):
            length = (function.end_lineno or function.lineno) - function.lineno + 1
            if length > FUNCTION_LINES:
                findings.append(
                    module.says(function.lineno, f"{function.name} has {length} lines, of at most {FUNCTION_LINES}")
                )
    for path in sorted((root / "app").rglob("*.sql")):
        lines = path.read_text(encoding="utf-8").count("\n")
        if lines > FILE_LINES:
            findings.append(f"{path.relative_to(root)}:1 {lines} lines; a file has at most {FILE_LINES}")
    return findings


def _ours(root: Path) -> list[Module]:
    found = modules(root, "app", "workers", "migrations", "tests", "start_trading.py")
    return [module for module in found if not module.where.startswith(_GENERATED)]


def fan_out(root: Path) -> list[str]:
    """Modules that import too many other slices: they should be two."""
    findings = []
    for module in modules(root, "app"):
        if any(module.name == who or module.name.startswith(f"{who}.") for who in _MANY_SLICES):
            continue
        others = {other for found in module.imports if (other := slice_of(found.target)) and other != module.slice}
        most = USE_CASE_SLICES if module.slice and module.name.split(".")[3:4] == ["service"] else SLICES
        if len(others) > most:
            findings.append(module.says(1, f"imports {len(others)} slices, of at most {most}"))
    return findings


def tasks(root: Path) -> list[str]:
    """Celery tasks that are more than a shim: short, keyword-only, `**_` for rolling deploys."""
    findings = []
    for module in modules(root, "workers"):
        for function in functions(module.tree):
            if not any(_is_task(decorator) for decorator in function.decorator_list):
                continue
            arguments = function.args
            if (function.end_lineno or function.lineno) - function.lineno + 1 >= TASK_LINES:
                findings.append(module.says(function.lineno, f"the task {function.name} is no shim"))
            if arguments.posonlyargs or arguments.args or arguments.kwarg is None:
                findings.append(
                    module.says(function.lineno, f"the task {function.name} takes keywords only, ending with **_")
                )
    return findings


def _is_task(decorator: ast.expr) -> bool:
    name = dotted(decorator.func if isinstance(decorator, ast.Call) else decorator)
    return name.rpartition(".")[2] in ("task", "shared_task")
