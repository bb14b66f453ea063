"""The bootstrap: whom it refuses, when it installs, which index it asks."""

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = Path(__file__).parents[3] / "start_trading.py"


@pytest.fixture(scope="module")
def start() -> ModuleType:
    spec = importlib.util.spec_from_file_location("start_trading", SOURCE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_parses_on_an_old_python_so_that_it_can_explain_itself() -> None:
    ast.parse(SOURCE.read_text(), feature_version=(3, 7))


def test_it_imports_the_standard_library_only() -> None:
    tree = ast.parse(SOURCE.read_text())
    named = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    named |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in named} <= set(sys.stdlib_module_names)


@pytest.mark.parametrize(
    ("version", "platform", "missing", "remedy"),
    [
        ((3, 9, 2), "linux", "", "3.11 or later"),
        ((3, 12, 0), "win32", "", "wsl --install"),
        ((3, 11, 2), "linux", "ensurepip", "python3-venv"),
    ],
)
def test_a_machine_that_cannot_run_it_is_told_the_remedy(
    start: ModuleType, version: tuple[int, ...], platform: str, missing: str, remedy: str
) -> None:
    assert remedy in start.refusal(version, platform, lambda name: name != missing)


@pytest.mark.parametrize("version", [(3, 11, 2), (3, 12, 1), (3, 14, 0)])
def test_a_machine_that_can_run_it_is_not_refused(start: ModuleType, version: tuple[int, ...]) -> None:
    assert start.refusal(version, "linux", lambda _: True) is None


def test_equal_stamps_skip_the_installation_and_any_change_does_not(start: ModuleType) -> None:
    wanted = start.wanted_stamp("run")
    assert start.satisfies(dict(wanted), wanted)
    for key in ("python", "base", "root", "project", "run"):
        assert not start.satisfies({**wanted, key: "other"}, wanted), key
    assert not start.satisfies(None, wanted), "no stamp: the last installation did not finish"


def test_a_venv_with_the_test_requirements_serves_a_plain_run_but_not_the_reverse(start: ModuleType) -> None:
    assert start.satisfies(start.wanted_stamp("test"), start.wanted_stamp("run"))
    assert not start.satisfies(start.wanted_stamp("run"), start.wanted_stamp("test"))


def test_the_callers_python_settings_do_not_leak_into_the_installation(start: ModuleType) -> None:
    clean = start.clean_environment({"PYTHONPATH": "/x", "PIP_TARGET": "/y", "PATH": "/bin", "PIP_INDEX_URL": "u"})
    assert clean == {"PATH": "/bin", "PIP_INDEX_URL": "u"}


def test_uv_is_told_the_indexes_that_pip_is_set_to(start: ModuleType) -> None:
    config = (
        "global.index-url='https://a.example/simple'\n"
        ":env:.index-url='https://b.example/simple'\n"
        "global.extra-index-url='https://c.example/simple https://d.example/simple'\n"
        ":env:.find-links='/wheels /more'\n"
        "global.cert='/etc/ca.pem'\n"
        "install.no-index='true'\n"
        "nonsense\n"
    )
    assert start.uv_settings(config, {"SSL_CERT_FILE": "/mine.pem"}) == {
        "UV_DEFAULT_INDEX": "https://b.example/simple",
        "UV_INDEX": "https://c.example/simple https://d.example/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "/wheels,/more",
        "UV_NO_INDEX": "true",
    }


def test_a_uv_setting_of_the_user_wins(start: ModuleType) -> None:
    assert start.uv_settings("global.index-url='https://a.example'", {"UV_DEFAULT_INDEX": "https://mine.example"}) == {}


def test_the_suite_runs_on_two_processes_unless_told_otherwise(start: ModuleType) -> None:
    assert start.pytest_arguments(["-k", "ledger"]) == ["-n", "2", "--dist", "worksteal", "-k", "ledger"]
    assert start.pytest_arguments(["-n0"]) == ["-n0"]
    assert start.pytest_arguments(["--pdb"]) == ["--pdb"]
