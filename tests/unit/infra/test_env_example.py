"""`.env.example` names and explains exactly the settings that exist, with values that are valid."""

import re
from pathlib import Path

import pytest

from app.infra.settings import Settings, load_settings

EXAMPLE = Path(__file__).parents[3] / ".env.example"
ASSIGNMENT = re.compile(r"^#?([A-Z][A-Z0-9_]*)=(.*)$")
OF_THE_LOCAL_STACK = {"DATABASE_URL", "MANDI_HOME"}


def examples() -> dict[str, str]:
    """Name and example value of each line."""
    matches = [match for line in EXAMPLE.read_text().splitlines() if (match := ASSIGNMENT.match(line))]
    found = [(str(match[1]), str(match[2])) for match in matches]
    assert len({name for name, _ in found}) == len(found), "a name occurs twice"
    return dict(found)


def test_it_names_every_setting_and_no_other() -> None:
    settings = {str(field.alias) for field in Settings.model_fields.values()}
    assert set(examples()) == settings | OF_THE_LOCAL_STACK


def test_a_copy_of_it_changes_nothing() -> None:
    assert not [line for line in EXAMPLE.read_text().splitlines() if line and not line.startswith("#")]


def test_each_setting_is_explained_above_it() -> None:
    lines = EXAMPLE.read_text().splitlines()
    for number, line in enumerate(lines):
        if ASSIGNMENT.match(line):
            above = lines[number - 1]
            assert above.startswith("# ") or ASSIGNMENT.match(above), f"{line} is not explained"


def test_its_values_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in examples().items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.cell == "in1"
    assert settings.kite_api_key is not None


@pytest.mark.parametrize("name", ["DATABASE_POOL_SIZE", "WORKER_CONCURRENCY", "LOG_LEVEL", "MANDI_CELL"])
def test_the_default_it_shows_is_the_default(name: str) -> None:
    field = next(field for field in Settings.model_fields.values() if field.alias == name)
    assert str(field.default) == examples()[name]
