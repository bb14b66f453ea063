"""The doctor on this very machine (it looks at ports, so it is no unit test)."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import app


def test_the_doctor_reports_as_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("APP_DATABASE_URL", "DISPATCH_DATABASE_URL", "REFERENCE_DATABASE_URL", "DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MANDI_HOME", str(tmp_path / "home"))
    done = CliRunner().invoke(app, ["doctor", "--json"])
    found = {finding["what"]: finding for finding in json.loads(done.output)}
    assert {"Python", "PostgreSQL", "Valkey", "disk", "clock", "port for API", "database roles"} <= set(found)
    assert found["PostgreSQL"]["found"].startswith("postgres (PostgreSQL)")


def test_a_role_that_cannot_connect_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MANDI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("APP_DATABASE_URL", "postgresql://mandi_app:x@127.0.0.1:1/mandi")
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 1
    assert "BAD  database role of APP_DATABASE_URL: no connection" in done.output
    assert "remedy: is the server up" in done.output
