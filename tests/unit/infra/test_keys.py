"""The deployment's secret: required in production, made once on a local stack, never used as it is."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.infra.keys import deployment_secret, derive_key
from app.infra.settings import Settings, SettingsError


def settings(folder: Path, **more: str) -> Settings:
    url = "postgresql://nobody@127.0.0.1:1/none"
    base = {"APP_DATABASE_URL": url, "DISPATCH_DATABASE_URL": url, "REFERENCE_DATABASE_URL": url}
    return Settings.model_validate(base | {"REDIS_URL": "redis://127.0.0.1:1", "MANDI_DATA_DIR": folder} | more)


def test_production_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="MANDI_SECRET_KEY"):
        deployment_secret(settings(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_given_secret_is_used_and_never_printed(tmp_path: Path) -> None:
    given = settings(tmp_path, MANDI_SECRET_KEY="s" * 32)
    assert deployment_secret(given) == b"s" * 32
    assert "ssss" not in repr(given)


def test_processes_that_start_at_once_read_one_local_secret(tmp_path: Path) -> None:
    local = settings(tmp_path / "new", MANDI_ENVIRONMENT="local")
    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(lambda _: deployment_secret(local), range(8)))
    assert len(found) == 1 and len(found.pop()) == 43
    files = list((tmp_path / "new").iterdir())
    assert [file.name for file in files] == ["secret.key"]
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o600


def test_each_purpose_has_a_key_of_its_own() -> None:
    keys = {derive_key(secret, purpose) for secret in (b"a" * 32, b"b" * 32) for purpose in ("one", "two")}
    assert len(keys) == 4 and {len(key) for key in keys} == {32}
    assert derive_key(b"a" * 32, "one") in keys
