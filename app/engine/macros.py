"""Decides the indicators that are compositions of other words: each expands into them, and costs their nodes.

Their inputs are translated first and stand in the expansion as `Made`, so a program cannot tell a macro from a word.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.engine.nodes import MAX_WINDOW, Argument, Kind

OPEN, HIGH, LOW, CLOSE, VOLUME = ({"op": name} for name in ("open", "high", "low", "close", "volume"))


@dataclass(frozen=True, slots=True)
class Made:
    """An expression already translated: its register."""

    register: int


@dataclass(frozen=True, slots=True)
class Macro:
    """A word that `expand` turns into an expression of words, given its inputs (`Made`) and integers by name.

    `defaults`: expressions for inputs that may be left out. `kind`: of the expansion. The summary names the formula's
    source.
    """

    summary: str
    expand: Callable[..., Any]
    inputs: tuple[tuple[str, Kind], ...] = ()
    arguments: tuple[Argument, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    kind: Kind = "number"


def _pair(op: str, left: Any, right: Any) -> dict[str, Any]:
    return {"op": op, "left": left, "right": right}


def _over(op: str, of: Any, window: int) -> dict[str, Any]:
    return {"op": op, "of": of, "window": window}


def _before(of: Any) -> dict[str, Any]:
    return {"op": "lag", "of": of, "bars": 1}


def _percent(part: Any, whole: Any) -> dict[str, Any]:
    return _pair("div", _pair("mul", 100, part), whole)


def _crosses(now: str, before: str) -> Callable[..., Any]:
    def expand(left: Any, right: Any) -> Any:
        return _pair("and", _pair(now, left, right), _pair(before, _before(left), _before(right)))

    return expand


def _true_range() -> Any:
    before = _before(CLOSE)
    return _pair("sub", _pair("max", HIGH, before), _pair("min", LOW, before))


def _atr(window: int) -> Any:
    return _over("wilder", _true_range(), window)


def _rsi(of: Any, window: int) -> Any:
    change = _pair("sub", of, _before(of))
    gain = _over("wilder", _pair("max", change, 0), window)
    loss = _over("wilder", _pair("max", {"op": "neg", "of": change}, 0), window)
    return _percent(gain, _pair("add", gain, loss))


_PAIR: tuple[tuple[str, Kind], ...] = (("left", "number"), ("right", "number"))
_OF: tuple[tuple[str, Kind], ...] = (("of", "number"),)
_WILDER = "J. W. Wilder, New Concepts in Technical Trading Systems, 1978"


def _window(default: int) -> Argument:
    return Argument("window", 1, MAX_WINDOW, default)


MACROS: dict[str, Macro] = {
    "cross_above": Macro("left > right, and left ≤ right a bar ago.", _crosses("gt", "le"), _PAIR, kind="condition"),
    "cross_below": Macro("left < right, and left ≥ right a bar ago.", _crosses("lt", "ge"), _PAIR, kind="condition"),
    "true_range": Macro(
        f"The larger of high and previous close, less the smaller of low and previous close ({_WILDER}).", _true_range
    ),
    "atr": Macro(f"Average true range: Wilder's smoothing of true_range ({_WILDER}).", _atr, (), (_window(14),)),
    "rsi": Macro(
        f"100·G/(G + L) of Wilder's smoothings of rises G and falls L; unknown before anything moved ({_WILDER}).",
        _rsi, _OF, (_window(14),),
    ),
}  # fmt: skip
