"""What a slice may consist of, and where slices may meet (ARCHITECTURE §2, rules 1-2)."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.source import WINGS, Module, dotted, modules, slice_of

FILES = ("routes", "schemas", "service", "repository", "tables", "rules", "types", "library", "ports", "domain")
PACKAGES = ("service", "domain", "rules", "types", "library")
"""Names that may be a folder of modules, too. Plug-in folders may also hold data."""
FOLDERS = {"sql": {".sql"}, "templates": {".html", ".txt", ".mjml", ".j2"}}
MEETING_POINTS = ("service", "domain", "ports")
_OTHER_DOORS = {"app.main": ("routes",), "app.bootstrap": ("tables",), "migrations": ("tables",)}
"""Who may use more of a slice than its meeting points."""
_RELATIONSHIPS = ("relationship", "Relationship")


def slice_names(root: Path) -> list[str]:
    """Files and folders that no slice may contain, and code in the `__init__` of a slice or wing."""
    findings = []
    for wing in WINGS:
        for entry in _entries(root / "app" / wing):
            if entry.is_file() and entry.name != "__init__.py":
                findings.append(f"{entry.relative_to(root)}: a wing contains slices only")
            if entry.is_dir():
                findings += [f"{wrong.relative_to(root)}: {why}" for wrong, why in _strangers(entry)]
    for module in modules(root, *(f"app/{wing}" for wing in WINGS)):
        if module.name.count(".") <= 2 and module.path.name == "__init__.py" and _has_code(module):
            findings.append(module.says(1, "the `__init__` of a wing or slice holds a docstring only"))
    return findings


def _entries(folder: Path) -> list[Path]:
    return [entry for entry in sorted(folder.glob("*")) if entry.name != "__pycache__"]


def _strangers(folder: Path) -> Iterator[tuple[Path, str]]:
    for entry in _entries(folder):
        if entry.is_dir() and entry.name in FOLDERS:
            for file in _entries(entry):
                if file.suffix not in FOLDERS[entry.name]:
                    yield file, f"{entry.name}/ holds {' '.join(sorted(FOLDERS[entry.name]))} only"
        elif entry.is_dir() and entry.name not in PACKAGES:
            yield entry, f"a slice has no folder {entry.name!r}"
        elif entry.is_file() and not (entry.suffix == ".py" and entry.stem in (*FILES, "__init__")):
            yield entry, f"a slice has no file {entry.name!r}; its files are {', '.join(FILES)}"


def _has_code(module: Module) -> bool:
    body = module.tree.body
    return len(body) > 1 or (bool(body) and not (isinstance(body[0], ast.Expr) and ast.get_docstring(module.tree)))


def meetings(root: Path) -> list[str]:
    """Imports of another slice past its `service`, `domain` and `ports`."""
    findings = []
    for module in modules(root, "app", "workers", "migrations"):
        own = module.slice
        doors = _doors(module.name)
        for found in module.imports:
            other = slice_of(found.target)
            if other is None or other == own:
                continue
            part = [*found.target.split("."), ""][3]
            if part not in doors:
                what = f"{other}.{part}".rstrip(".")
                findings.append(module.says(found.line, f"imports {what}; slices meet at {', '.join(doors)}"))
    return findings


def _doors(name: str) -> tuple[str, ...]:
    more = [doors for who, doors in _OTHER_DOORS.items() if name == who or name.startswith(f"{who}.")]
    return (*MEETING_POINTS, *(more[0] if more else ()))


def relationships(root: Path) -> list[str]:
    """ORM relationships that leave their slice, or load lazily on their own (rule 4: `lazy="raise"`)."""
    findings = []
    for module in modules(root, "app"):
        classes = {node.name for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)}
        for statement in ast.walk(module.tree):
            call = getattr(statement, "value", None)
            if not isinstance(statement, (ast.Assign, ast.AnnAssign)) or not isinstance(call, ast.Call):
                continue
            if dotted(call.func).rpartition(".")[2] not in _RELATIONSHIPS:
                continue
            if not _targets(statement, call) & classes:
                findings.append(module.says(call.lineno, "relationship() to a class of another module"))
            if 'lazy="raise"' not in ast.unparse(call).replace("'", '"'):
                findings.append(module.says(call.lineno, 'relationship() without lazy="raise"'))
    return findings


def _targets(statement: ast.Assign | ast.AnnAssign, call: ast.Call) -> set[str]:
    """Every name in the annotation and the first argument, also inside strings."""
    sources = [*call.args[:1], *([statement.annotation] if isinstance(statement, ast.AnnAssign) else [])]
    names = {node.id for source in sources for node in ast.walk(source) if isinstance(node, ast.Name)}
    quoted = [node.value for source in sources for node in ast.walk(source) if isinstance(node, ast.Constant)]
    return names | {part for text in quoted for part in str(text).replace("[", " ").replace("]", " ").split()}
