"""What a worker or a daemon refuses to start with."""

import subprocess
import sys

import pytest

from app.infra.settings import Settings


@pytest.mark.parametrize("process", ["worker", "daemon"])
def test_missing_settings_end_a_process_with_78_and_name_them(process: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "workers", process], env={"PATH": ""}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 78
    assert "APP_DATABASE_URL" in ended.stderr


@pytest.mark.parametrize(("process", "option"), [("worker", "--queues"), ("daemon", "--roles")])
def test_an_unknown_name_is_refused_with_those_that_exist(app_settings: Settings, process: str, option: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "workers", process, option, "nosuch"],
        env={"PATH": "", **environment(app_settings)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "nosuch" in ended.stderr and "there are" in ended.stderr


def environment(settings: Settings) -> dict[str, str]:
    return {
        "APP_DATABASE_URL": settings.app_database_url.get_secret_value(),
        "DISPATCH_DATABASE_URL": settings.dispatch_database_url.get_secret_value(),
        "REFERENCE_DATABASE_URL": settings.reference_database_url.get_secret_value(),
        "REDIS_URL": settings.redis_url.get_secret_value(),
        "MANDI_DATA_DIR": str(settings.data_dir),
    }
