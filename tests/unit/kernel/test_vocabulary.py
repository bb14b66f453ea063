"""Order words, expected failures, and how plug-ins are found."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.kernel.errors import DomainError, Kind, conflict, invalid, not_found
from app.kernel.orders import TERMINAL, WORKING, OrderStatus, Side
from app.kernel.plugins import discover


def test_a_status_is_either_terminal_or_working() -> None:
    assert set(OrderStatus) == TERMINAL | WORKING
    assert not TERMINAL & WORKING


def test_an_unknown_outcome_is_still_working() -> None:
    assert OrderStatus.UNKNOWN in WORKING
    assert OrderStatus.LOST in TERMINAL


def test_a_buy_adds_and_a_sell_takes() -> None:
    assert (Side.BUY.sign, Side.SELL.sign) == (1, -1)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (invalid("off_tick", "Use the tick.", param="limit_price"), Kind.INVALID),
        (conflict("closed", "Wait."), Kind.CONFLICT),
        (not_found("order", "ord_1"), Kind.NOT_FOUND),
    ],
)
def test_an_expected_failure_has_a_code_a_kind_and_a_message(error: DomainError, kind: Kind) -> None:
    assert error.kind is kind
    assert error.code
    assert str(error) == error.message


Package = Callable[[dict[str, str]], str]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Package:
    """Makes an importable package of the given modules; its name is returned."""
    name = f"plugins_of_{request.node.name}"

    def make(modules: dict[str, str]) -> str:
        (tmp_path / name).mkdir()
        for module, text in {"__init__": "", **modules}.items():
            (tmp_path / name / f"{module}.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        for loaded in [loaded for loaded in sys.modules if loaded.startswith(name)]:
            monkeypatch.delitem(sys.modules, loaded)
        return name

    return make


PLUGIN = "class PLUGIN:\n    name = '{}'\n"


def test_plugins_are_found_by_name_in_order(package: Package) -> None:
    name = package({"b": PLUGIN.format("alpha"), "a": PLUGIN.format("beta"), "_base": "x = 1\n"})
    assert list(discover(name)) == ["alpha", "beta"]


def test_a_module_without_a_plugin_stops_the_start(package: Package) -> None:
    name = package({"a": PLUGIN.format("a"), "half": "x = 1\n"})
    with pytest.raises(RuntimeError, match="half defines no PLUGIN"):
        discover(name)


def test_two_plugins_of_one_name_stop_the_start(package: Package) -> None:
    name = package({"a": PLUGIN.format("same"), "b": PLUGIN.format("same")})
    with pytest.raises(RuntimeError, match="two plug-ins"):
        discover(name)
