"""SQL functions: named after their slice, defined once, and safe where they run with their owner's rights."""

import re
from pathlib import Path

_FUNCTION = re.compile(r"^CREATE\s+(OR\s+REPLACE\s+)?FUNCTION\s+([\w.]+)\s*\(", re.IGNORECASE | re.MULTILINE)
_BODY = re.compile(r"\bAS\s+\$", re.IGNORECASE)
_SAFE_PATH = re.compile(r"SET\s+search_path\s*(=|TO)\s*[\w, ]*pg_temp\s+", re.IGNORECASE)


def sql_functions(root: Path) -> list[str]:
    """Functions whose name, form or search path breaks the rules (decision 0002)."""
    findings: list[str] = []
    seen: dict[str, Path] = {}
    for path in sorted((root / "app").rglob("sql/*.sql")):
        where, text = path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")
        prefixes = _prefixes(path)
        for match in _FUNCTION.finditer(text):
            name = match[2]
            place = f"{where}:{text.count(chr(10), 0, match.start()) + 1}"
            body = _BODY.search(text, match.end())
            head = text[match.start() : body.start() if body else len(text)]
            if not name.startswith(prefixes):
                findings.append(f"{place} {name} is not named after its slice ({' or '.join(prefixes)}…)")
            if match[1] is None:
                findings.append(f"{place} {name} is not CREATE OR REPLACE")
            if seen.setdefault(name, path) != path:
                findings.append(f"{place} {name} is also defined in {seen[name].relative_to(root)}")
            if "SECURITY DEFINER" in head.upper() and not _SAFE_PATH.search(f"{head} "):
                findings.append(f"{place} {name} is SECURITY DEFINER without a search_path that ends with pg_temp")
    return findings


def _prefixes(path: Path) -> tuple[str, ...]:
    """`app/market/instruments/sql/x.sql`: instruments_, instrument_, market_."""
    name, wing = path.parents[1].name, path.parents[2].name
    return tuple(sorted({f"{name}_", f"{name.removesuffix('s')}_", f"{wing}_"}))
