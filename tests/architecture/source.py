"""Reads a source tree for the architecture checks: every check is a function of a root folder that returns findings."""

import ast
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WINGS = ("insight", "trading", "market", "custody", "platform")
_SKIPPED = {".git", ".venv", ".mandi", "__pycache__", "node_modules", "build", "dist"}


@dataclass(frozen=True, slots=True)
class Import:
    """`target` is dotted and complete: `from a.b import c` gives `a.b.c`."""

    target: str
    line: int


@dataclass(frozen=True, slots=True)
class Module:
    """One parsed file. `name` is dotted; a package's name is that of its folder."""

    path: Path
    where: str
    name: str
    tree: ast.Module
    lines: int
    imports: tuple[Import, ...]

    @property
    def slice(self) -> str | None:
        """`app.trading.orders` for every module of that slice."""
        return slice_of(self.name)

    def says(self, line: int, message: str) -> str:
        """A finding: where and what."""
        return f"{self.where}:{line} {message}"


def slice_of(name: str) -> str | None:
    """The slice that a dotted name lies in, or None outside the wings."""
    parts = name.split(".")
    return ".".join(parts[:3]) if len(parts) >= 3 and parts[0] == "app" and parts[1] in WINGS else None


def modules(root: Path, *folders: str) -> list[Module]:
    """Every module below the folders (or single files) of `root` that exist, in path order."""
    paths = [path for folder in folders for path in _python_files(root / folder)]
    return [_parse(root, path, path.stat().st_mtime_ns) for path in sorted(paths)]


def _python_files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
    for path in place.rglob("*.py"):
        if not _SKIPPED.intersection(path.parts):
            yield path


@cache
def _parse(root: Path, path: Path, _changed_ns: int) -> Module:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text, filename=str(path))
    relative = path.relative_to(root)
    parts = relative.with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Module(path, relative.as_posix(), name, tree, text.count("\n"), tuple(_imports(tree)))


def _imports(tree: ast.Module) -> Iterator[Import]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (Import(f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def dotted(node: ast.AST) -> str:
    """`a.b.c` of a name or an attribute chain; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        head = dotted(node.value)
        return f"{head}.{node.attr}" if head else ""
    return ""


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function, nested ones and methods too."""
    return (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def tracked_files(root: Path) -> list[Path]:
    """What the project consists of: git's list, or every file when the tree is no repository."""
    try:
        listed = subprocess.run(["git", "-C", str(root), "ls-files", "-z"], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return [path for path in root.rglob("*") if path.is_file() and not _SKIPPED.intersection(path.parts)]
    return [path for name in listed.decode().split("\0") if name and (path := root / name).is_file()]


def plant(root: Path, files: Mapping[str, str]) -> Path:
    """Write a small tree with violations in it, a package `__init__` in every folder of `app`."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        for folder in path.parents if path.suffix == ".py" else ():
            if folder != root and folder.is_relative_to(root / "app") and not (folder / "__init__.py").exists():
                (folder / "__init__.py").write_text("", encoding="utf-8")
    return root
