"""What the pure core may not touch, where the clock may be read, and where no float may be (rules 3, 12, 18)."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.source import WINGS, Module, dotted, modules

IMPURE_MODULES = frozenset(
    {
        "asyncio", "concurrent", "ctypes", "io", "logging", "multiprocessing", "os", "platform", "random", "secrets",
        "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time", "urllib",
        "structlog", "opentelemetry", "prometheus_client", "requests", "polars", "pandas", "pyarrow",
        "pydantic_settings", "numpy.random", "pathlib",
    }
)  # fmt: skip
IMPURE_CALLS = frozenset({"open", "print", "input", "uuid1", "uuid4", "uuid7", "breakpoint", "getenv"})
CLOCKS = frozenset({"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.time_ns"})
ALLOWED = {
    "app.kernel.ids": "an id is made of the clock and of randomness",
    "app.engine": "the compiler's cache is a folder, named before anything compiles",
    "app.engine.parsing": "Python's parser is not safe for threads: one parses at a time",
    "app.engine.kernels": "the digest that names the compiled code's cache reads the sources",
    "app.engine.kernels.build": "it writes the file of compiled code",
    "app.engine.kernels.jit": "the compiler's cache is a folder",
    "app.engine.kernels.native": "it loads that file, by address",
}
"""Pure modules with one exception each, and why. Everything that they offer is still a function of its arguments."""
EXACT = ("app/kernel", "app/custody", "app/trading/orders", "app/trading/risk", "app/trading/portfolio")
_FLOAT_NAMES = frozenset({"float", "Float", "Double", "Numeric", "REAL", "float64", "float32"})


def is_pure(module: Module) -> bool:
    """Whether the module belongs to the pure core."""
    parts = module.name.split(".")
    if parts[:2] in (["app", "kernel"], ["app", "quant"], ["app", "engine"]):
        return True
    return module.slice is not None and len(parts) > 3 and parts[3] in ("domain", "rules", "types", "library")


def impurities(root: Path) -> list[str]:
    """Input, output, clock, randomness, settings and logging in the pure core."""
    findings = []
    for module in modules(root, "app"):
        if not is_pure(module) or module.name in ALLOWED:
            continue
        for found in module.imports:
            if any(_within(found.target, impure) for impure in IMPURE_MODULES):
                findings.append(module.says(found.line, f"imports {found.target} in the pure core"))
        for call in _calls(module.tree):
            name = dotted(call.func)
            if name in IMPURE_CALLS or name.rpartition(".")[2] in IMPURE_CALLS or ".random." in name:
                findings.append(module.says(call.lineno, f"calls {name} in the pure core"))
        findings += _clocks(module)
    return findings


def clocks(root: Path) -> list[str]:
    """Slices that read the clock instead of taking `now`."""
    return [
        finding
        for module in modules(root, *(f"app/{wing}" for wing in WINGS))
        if not is_pure(module)
        for finding in _clocks(module)
    ]


def _clocks(module: Module) -> Iterator[str]:
    for call in _calls(module.tree):
        name = dotted(call.func)
        if ".".join(name.split(".")[-2:]) in CLOCKS:
            yield module.says(call.lineno, f"reads the clock by {name}; take `now` as an argument")


def floats(root: Path) -> list[str]:
    """Floats where orders, fees and balances are computed: literals, conversions, types, true division."""
    findings = []
    for module in modules(root, *EXACT):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, float):
                findings.append(module.says(node.lineno, f"the float {node.value}"))
            elif isinstance(node, (ast.Name, ast.Attribute)) and dotted(node).rpartition(".")[2] in _FLOAT_NAMES:
                findings.append(module.says(node.lineno, f"names {dotted(node)}"))
            elif isinstance(node, (ast.BinOp, ast.AugAssign)) and isinstance(node.op, ast.Div):
                findings.append(module.says(node.lineno, "divides with /; use kernel.money.divide"))
    return findings


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")
