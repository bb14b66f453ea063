"""`mandi migrate`, `bars import`, `bands import` and `doctor` against a server that an administrator hands over."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import app
from app.infra.roles import LOGIN_ROLES
from app.local.environment import stack_settings
from app.local.home import Home
from app.local.postgres import temporary_postgres

HEADER = "date,open,high,low,close,volume\n"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    home = Home(tmp_path_factory.mktemp("home"))
    home.create()
    with temporary_postgres() as server:
        passwords = home.passwords(LOGIN_ROLES)
        found = stack_settings(home, admin_url=server.dsn, redis_url="redis://none", passwords=passwords, speed=None)
        yield {**found, "DATABASE_URL": server.dsn, "MANDI_HOME": str(home.root)}


@pytest.fixture
def run(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return CliRunner()


def test_an_empty_server_is_made_ready_twice_over_and_the_doctor_agrees(run: CliRunner) -> None:
    for _ in range(2):
        done = run.invoke(app, ["migrate"])
        assert done.exit_code == 0, done.output
    seen = run.invoke(app, ["doctor"])
    assert "mandi_app, clock differs by" in seen.output
    assert seen.exit_code == 0, seen.output


def test_bars_are_imported_or_refused_with_row_and_column(run: CliRunner, tmp_path: Path) -> None:
    assert run.invoke(app, ["migrate"]).exit_code == 0
    command = ["bars", "import", str(tmp_path / "bars.csv"), "--symbol", "AAPL", "--venue", "XNAS"]
    (tmp_path / "bars.csv").write_text(HEADER + "2024-01-02,10,12,9,11,100\n2024-01-03,11,10,12,11,100\n")
    refused = run.invoke(app, command)
    assert refused.exit_code == 1
    assert "row 2" in refused.output
    assert "Traceback" not in refused.output
    (tmp_path / "bars.csv").write_text(HEADER + "2024-01-02,10,12,9,11,100\n2024-01-03,11,13,10,12,100\n")
    done = run.invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "AAPL XNAS 1d: 2 bars" in done.output
    assert "already current" in run.invoke(app, command).output


def test_price_bands_are_imported_or_refused_with_row_and_column(run: CliRunner, tmp_path: Path) -> None:
    assert run.invoke(app, ["migrate"]).exit_code == 0
    file, head = tmp_path / "bands.csv", "symbol,venue,day,lower,upper,halted\n"
    file.write_text(head + "RELIANCE,XNSE,2025-06-09,1266.30,1547.60,\nNOBODY,XNSE,2025-06-09,1,2,\n")
    done = run.invoke(app, ["bands", "import", str(file), "--source", "NSE"])
    assert done.exit_code == 0, done.output
    assert "1 of 1 new or changed; left out, as they are not traded here: NOBODY XNSE" in done.output
    file.write_text(head + "RELIANCE,XNSE,2025-06-09,1547.60,1266.30,\n")
    refused = run.invoke(app, ["bands", "import", str(file)])
    assert refused.exit_code == 1
    assert "Row 2, lower" in refused.output
    assert "Traceback" not in refused.output


def test_a_superuser_in_the_applications_place_is_called_out(
    run: CliRunner, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_DATABASE_URL", settings["DATABASE_URL"])
    seen = run.invoke(app, ["doctor"])
    assert seen.exit_code == 1
    assert "superuser" in seen.output
