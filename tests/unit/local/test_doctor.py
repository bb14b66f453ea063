"""What the doctor calls wrong, and the remedy it names."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.local.doctor import check_clock, check_disk, check_home, check_port, check_python
from app.local.home import Home

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def test_a_sound_machine_is_found_sound(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.create()
    home.passwords(["mandi_app"])
    found = [
        check_python((3, 11, 2), "linux"),
        check_disk(5_000_000_000),
        check_clock(NOW, NOW),
        check_home(home),
        check_port("API", 8000, free=True),
        check_port("API", 8000, free=False),
    ]
    assert [finding.remedy for finding in found if not finding.ok] == []


def test_every_fault_names_its_remedy(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.create()
    home.passwords(["mandi_app"])
    (tmp_path / "roles.json").chmod(0o644)
    found = {
        "3.11 or later": check_python((3, 10, 9), "linux"),
        "WSL2": check_python((3, 12, 0), "win32"),
        "MANDI_HOME": check_disk(10_000_000),
        "timedatectl": check_clock(datetime(1970, 1, 1, tzinfo=UTC), NOW),
        "chmod 600": check_home(home),
    }
    for remedy, finding in found.items():
        assert not finding.ok
        assert remedy in finding.remedy


@pytest.mark.parametrize("name", ["roles.json"])
def test_a_folder_that_does_not_exist_yet_is_no_fault(tmp_path: Path, name: str) -> None:
    assert check_home(Home(tmp_path / name / "absent")).ok
