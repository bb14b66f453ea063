"""The `mandi` command: its verbs, its manners without a stack, and how little it loads for its help."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import app

VERBS = [
    "up", "down", "status", "doctor", "migrate", "seed", "performance", "orders", "positions", "backtest", "strategies",
    "charges", "sweep", "daemon", "bench", "mail",
    "charges", "sweep", "keys", "tenants", "daemon", "bench",
]  # fmt: skip


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    for name in ("APP_DATABASE_URL", "MIGRATE_DATABASE_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MANDI_HOME", str(tmp_path / "home"))
    return CliRunner()


def test_the_help_names_every_verb(run: CliRunner) -> None:
    shown = run.invoke(app, ["--help"]).output
    assert [verb for verb in VERBS if verb not in shown] == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(run: CliRunner, verb: str) -> None:
    assert run.invoke(app, [verb, "--help"]).exit_code == 0


def test_the_help_loads_no_database_web_or_number_library() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from app.cli import app\n"
        "CliRunner().invoke(app, ['--help'])\n"
        "print([m for m in ('sqlalchemy', 'asyncpg', 'fastapi', 'numpy', 'numba', 'celery') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("verb", ["orders", "positions", "performance", "migrate"])
def test_a_verb_that_needs_a_stack_says_so_in_one_line(run: CliRunner, verb: str) -> None:
    done = run.invoke(app, [verb])
    assert done.exit_code == 1
    assert "no stack runs here" in done.output
    assert "Traceback" not in done.output


def test_status_and_down_without_a_stack(run: CliRunner) -> None:
    assert run.invoke(app, ["status"]).exit_code == 1
    found = json.loads(run.invoke(app, ["status", "--json"]).output)
    assert (found["phase"], found["ready"], found["services"]) == ("stopped", False, [])
    assert run.invoke(app, ["down"]).exit_code == 0


def test_captured_mail_is_shown_and_never_in_production(
    run: CliRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert run.invoke(app, ["mail"]).output == "no mail was captured\n"
    folder = tmp_path / "data" / "mail"
    folder.mkdir(parents=True)
    mail = {"at": "2026-01-05T09:15:00+00:00", "to": "a@example.com", "subject": "Hello", "text": "the link\n"}
    (folder / "1.json").write_text(json.dumps(mail))
    monkeypatch.setenv("MANDI_DATA_DIR", str(tmp_path / "data"))
    assert "a@example.com\nHello\n\nthe link" in run.invoke(app, ["mail"]).output
    assert json.loads(run.invoke(app, ["mail", "--json"]).output) == mail
    monkeypatch.setenv("MANDI_ENVIRONMENT", "production")
    refused = run.invoke(app, ["mail"])
    assert refused.exit_code == 1 and "the link" not in refused.output and "Traceback" not in refused.output


def test_deleting_data_is_asked_about(run: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "kept").touch()
    done = run.invoke(app, ["up", "--fresh"], input="n\n")
    assert done.exit_code == 1
    assert (tmp_path / "home" / "kept").exists()
