"""The matrix of OpenID Connect's basic profile names tests that exist."""

import re
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


def _named() -> list[str]:
    rows = [line for line in (HERE / "oidc_matrix.md").read_text().splitlines() if line.startswith("| `oidcc-")]
    assert len(rows) > 20
    return [name for row in rows for name in re.findall(r"`(test_\w+)`", row)]


def test_every_test_that_the_matrix_names_exists() -> None:
    sources = [*HERE.glob("test_oauth*.py"), *(ROOT / "tests/unit/platform/oauth").glob("test_*.py")]
    defined = {
        name for path in sources for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    assert [name for name in _named() if name not in defined] == []


def test_a_module_is_named_once() -> None:
    modules = re.findall(r"`(oidcc-[a-z0-9-]+)`", (HERE / "oidc_matrix.md").read_text())
    listed = [name for name in modules if name != "oidcc-basic-certification-test-plan"]
    assert len(listed) == len(set(listed))
