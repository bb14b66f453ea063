"""Every error code stands in the catalogue that clients read; and what it lacks is found."""

import json
from pathlib import Path

import pytest

from tests.architecture import error_codes
from tests.architecture.source import ROOT


def test_the_catalogue_says_what_the_source_raises() -> None:
    assert error_codes.stale(ROOT) == []


def test_every_code_can_be_read_off_the_source() -> None:
    assert error_codes.unreadable(ROOT) == []


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ('raise DomainError("planted", Kind.LIMITED, "Wait.")', "planted"),
        ('raise invalid("planted", "Mend it.", param="x")', "planted"),
        ('raise conflict("planted", "Look again.")', "planted"),
        ('raise not_found("planted", "x")', "planted_not_found"),
        ('raise Malformed("planted", "No.", status=415)', "planted"),
        ('return problem(403, "planted", "No.", request_id="r")', "planted"),
    ],
)
def test_a_code_that_the_catalogue_lacks_is_found(tmp_path: Path, source: str, code: str) -> None:
    (tmp_path / "app/web").mkdir(parents=True)
    (tmp_path / error_codes.CATALOGUE).write_text("[]")
    (tmp_path / "app/web/planted.py").write_text(f"def planted():\n    {source}\n")
    (finding,) = error_codes.stale(tmp_path)
    assert f": {code}:" in finding


def test_a_code_that_nothing_raises_is_found(tmp_path: Path) -> None:
    (tmp_path / "app/web").mkdir(parents=True)
    gone = {"code": "gone", "status": [409], "retryable": False, "says": ["Gone."]}
    (tmp_path / error_codes.CATALOGUE).write_text(json.dumps([gone]))
    assert len(error_codes.stale(tmp_path)) == 1


def test_a_computed_code_is_found(tmp_path: Path) -> None:
    (tmp_path / "app/web").mkdir(parents=True)
    (tmp_path / "app/web/planted.py").write_text('def planted(x):\n    raise invalid(f"a_{x}", "Mend it.")\n')
    assert "cannot be read" in error_codes.unreadable(tmp_path)[0]


def test_a_function_that_hands_a_code_on_is_followed(tmp_path: Path) -> None:
    (tmp_path / "app/web").mkdir(parents=True)
    helper = "def no(code, said):\n    return DomainError(code, Kind.FORBIDDEN, said)\n"
    (tmp_path / "app/web/planted.py").write_text(helper + 'def a():\n    raise no("handed_on", "No.")\n')
    assert error_codes.catalogue(tmp_path) == [
        {"code": "handed_on", "status": [403], "retryable": False, "says": ["No."]}
    ]
