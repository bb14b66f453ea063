"""The project's papers agree with the project: dependencies, decisions, hooks."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.engine.program import compile_program
from app.trading.strategies.library._plugin import LibraryStrategy
from tests.architecture.source import ROOT

DECISIONS = ROOT / "app" / "decisions"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
INSTALLED_FOR_THE_BUILD = {"uv", "hatchling"}


def names(requirements: list[str]) -> set[str]:
    """Package names, normalised, without extras and versions."""
    return {re.split(r"[\[<>=~! ;]", requirement)[0].lower().replace("_", "-") for requirement in requirements}


def explained() -> set[str]:
    """Every package in the first column of the dependency page's tables; `a, -b` stands for a and its sibling b."""
    found: set[str] = set()
    for line in (DECISIONS / "0005-dependencies.md").read_text().splitlines():
        if line.startswith("| ") and not line.startswith("| Package"):
            listed = [name.strip() for name in line.split("|")[1].split(",")]
            stem = listed[0].partition("-")[0]
            found |= {f"{stem}{name}" if name.startswith("-") else name for name in listed}
    return found


def test_every_dependency_is_explained_and_none_is_explained_in_vain() -> None:
    project = PROJECT["project"]
    wanted = names(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        wanted |= names(extra)
    assert explained() == wanted | INSTALLED_FOR_THE_BUILD


def test_decisions_are_numbered_without_gaps() -> None:
    pages = sorted(path.name for path in DECISIONS.glob("*.md"))
    assert [page[:4] for page in pages] == [f"{number:04d}" for number in range(1, len(pages) + 1)]
    assert all(re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", page) for page in pages), pages


@pytest.mark.parametrize("page", sorted(DECISIONS.glob("*.md")), ids=lambda page: page.stem)
def test_a_decision_is_one_page_with_its_three_parts(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(f"# {page.name[:4]} ")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]
    prose = [line for line in text.splitlines() if not line.startswith("|")]
    assert len(" ".join(prose).split()) <= 800, "a decision is one page"


def test_the_hooks_are_valid_and_use_the_locked_tools() -> None:
    path = ROOT / ".pre-commit-config.yaml"
    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", "validate-config", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    repositories = yaml.safe_load(path.read_text())["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    for hook in repositories[0]["hooks"]:
        tool = hook["entry"].split()[0]
        assert tool.startswith(".venv/bin/")
        assert Path(sys.executable).with_name(Path(tool).name).exists(), tool


def test_the_strategy_of_the_contribution_guide_works() -> None:
    match = re.search(r"```python\n(.+?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    assert match is not None
    namespace: dict[str, Any] = {"__name__": "guide"}
    exec(compile(match[1], "CONTRIBUTING.md", "exec"), namespace)
    plugin: LibraryStrategy[Any] = namespace["PLUGIN"]
    program = compile_program(plugin.build(plugin.parse({"window": 50}), 3))
    assert program.warm_up >= 50


def test_the_contribution_guide_names_only_places_that_the_architecture_knows() -> None:
    places = re.findall(r"`((?:app|tests)/[\w/.]+?)/?`", (ROOT / "CONTRIBUTING.md").read_text())
    later = {"app/trading/risk/rules", "app/trading/orders/types", "app/trading/algos/types", "tests/contract"}
    later |= {"tests/chaos", "tests/e2e", "app/trading/brokers/ports.py", "app/adapters"}
    assert places
    assert [place for place in places if not (ROOT / place).exists() and place not in later] == []
