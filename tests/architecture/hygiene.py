"""What no tracked file may contain: folders of somebody's machine; and in locks, unhashed packages or addresses."""

import re
from pathlib import Path

from tests.architecture.source import ROOT, tracked_files

_MACHINE = re.compile(r"(?<![\w.~$}:/-])/(?:home|Users|root|work|workspace|workspaces)/[\w.-]+")
_CONTAINER_FILES = ("Dockerfile", "compose.yaml", "helm/", ".github/")
"""Describe other machines: an image's own folders are no leak."""
_TEXT_LIMIT_BYTES = 2_000_000
_REQUIREMENT = re.compile(r"^[A-Za-z0-9][\w.-]*(\[[\w,.-]+\])?==\S+")


def machine_paths(root: Path) -> list[str]:
    """Absolute paths of a home or work folder, whoever's it is, and this checkout's own."""
    here = [str(place) for place in (root, ROOT, Path.home()) if len(place.parts) > 2]
    findings = []
    for path in tracked_files(root):
        name = path.relative_to(root).as_posix()
        for number, line in enumerate(_text(path).splitlines(), start=1):
            own = next((place for place in here if place in line), None)
            found = None if name.startswith(_CONTAINER_FILES) else _MACHINE.search(line)
            if own or found:
                findings.append(f"{name}:{number} names {own or (found and found.group())}")
    return findings


def _text(path: Path) -> str:
    """The file's text; empty for binary and very large files."""
    if path.is_symlink() or path.stat().st_size > _TEXT_LIMIT_BYTES:
        return ""
    raw = path.read_bytes()
    return "" if b"\0" in raw else raw.decode("utf-8", errors="replace")


def loose_locks(root: Path) -> list[str]:
    """Requirements without a version and hash, and addresses, in every `*.lock` at the top."""
    findings = []
    for path in sorted(root.glob("*.lock")):
        for entry in path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
            line = entry.strip()
            if "://" in line or line.startswith(("-i ", "--index", "--extra-index", "--find-links")):
                findings.append(f"{path.name}: an address in {line[:60]!r}")
            if not line or line.startswith("#"):
                continue
            if not _REQUIREMENT.match(line) or "--hash=sha256:" not in line:
                findings.append(f"{path.name}: not pinned by version and hash: {line[:60]!r}")
    return findings


def foreign_lock_files(root: Path) -> list[str]:
    """Lock formats that name a package index per artefact."""
    refused = ("uv.lock", "poetry.lock", "Pipfile.lock")
    names = [path.relative_to(root).as_posix() for path in tracked_files(root)]
    return [
        f"{name}: use the hashed requirements locks" for name in names if name.endswith(refused) or "pylock" in name
    ]
