"""Decides the indicators that are compositions of other words: each expands into them, and costs their nodes.

Their inputs are translated first and stand in the expansion as `Made`, so a program cannot tell a macro from a word.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.engine.nodes import MAX_SCAN, MAX_WINDOW, Argument, Kind

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


def _macd(of: Any, fast: int, slow: int) -> Any:
    return _pair("sub", _over("ema", of, fast), _over("ema", of, slow))


def _macd_signal(of: Any, fast: int, slow: int, signal: int) -> Any:
    return _over("ema", _macd(of, fast, slow), signal)


def _macd_histogram(of: Any, fast: int, slow: int, signal: int) -> Any:
    return _pair("sub", _macd(of, fast, slow), _macd_signal(of, fast, slow, signal))


def _bollinger(side: str) -> Callable[..., Any]:
    def expand(of: Any, width: Any, window: int) -> Any:
        return _pair(side, _over("sma", of, window), _pair("mul", width, _over("stddev", of, window)))

    return expand


def _keltner(side: str) -> Callable[..., Any]:
    def expand(of: Any, width: Any, window: int, atr_window: int) -> Any:
        return _pair(side, _over("ema", of, window), _pair("mul", width, _atr(atr_window)))

    return expand


def _donchian_middle(window: int) -> Any:
    return _pair("div", _pair("add", _over("highest", HIGH, window), _over("lowest", LOW, window)), 2)


def _stochastic_k(window: int, smooth: int) -> Any:
    low = _over("lowest", LOW, window)
    fast = _percent(_pair("sub", CLOSE, low), _pair("sub", _over("highest", HIGH, window), low))
    return _over("sma", fast, smooth)


def _stochastic_d(window: int, smooth: int, signal: int) -> Any:
    return _over("sma", _stochastic_k(window, smooth), signal)


def _cci(window: int) -> Any:
    typical = {"op": "typical"}
    distance = _pair("sub", typical, _over("sma", typical, window))
    return _pair("div", distance, _pair("mul", 0.015, _over("mean_deviation", typical, window)))


def _indicator(movement: str) -> Callable[..., Any]:
    def expand(window: int) -> Any:
        return _percent(_over("wilder", {"op": movement}, window), _atr(window))

    return expand


def _adx(window: int) -> Any:
    plus, minus = _indicator("plus_dm")(window), _indicator("minus_dm")(window)
    spread = {"op": "abs", "of": _pair("sub", plus, minus)}
    return _over("wilder", _percent(spread, _pair("add", plus, minus)), window)


def _supertrend(word: str) -> Callable[..., Any]:
    def expand(width: Any, window: int) -> Any:
        middle, away = _pair("div", _pair("add", HIGH, LOW), 2), _pair("mul", width, _atr(window))
        return {"op": word, "upper": _pair("add", middle, away), "lower": _pair("sub", middle, away)}

    return expand


_PAIR: tuple[tuple[str, Kind], ...] = (("left", "number"), ("right", "number"))
_OF: tuple[tuple[str, Kind], ...] = (("of", "number"),)
_WILDER = "J. W. Wilder, New Concepts in Technical Trading Systems, 1978"


def _window(default: int, *, least: int = 1, name: str = "window", most: int = MAX_WINDOW) -> Argument:
    return Argument(name, least, most, default)


_MACD = (_window(12, name="fast"), _window(26, name="slow"))
_SIGNAL = _window(9, name="signal")
_SMOOTH = _window(1, name="smooth", most=MAX_SCAN)
_ADX = (_window(14),)
_WIDE: tuple[tuple[str, Kind], ...] = (*_OF, ("width", "number"))
_BAND = (_WIDE, (_window(20, least=2),), {"of": CLOSE, "width": 2})
_CHANNEL = (_WIDE, (_window(20), _window(10, name="atr_window")), {"of": CLOSE, "width": 2})
_APPEL = "G. Appel, 1979"
_BOLLINGER = "J. Bollinger, Bollinger on Bollinger Bands, 2001"
_KELTNER = "C. W. Keltner, 1960, with L. B. Raschke's EMA and ATR"

_PINE = "O. Seban; ta.supertrend of the Pine Script reference"
_TREND: dict[str, Any] = {"inputs": (("width", "number"),), "arguments": (_window(10),), "defaults": {"width": 3}}

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
    "roc": Macro(
        "Rate of change of a field in percent: 100·(x[t] / x[t − window] − 1).",
        lambda of, window: _pair("mul", 100, {"op": "return", "of": of, "bars": window}), _OF, (_window(10),),
    ),
    "macd": Macro(f"EMA of `fast` less EMA of `slow` bars ({_APPEL}).", _macd, _OF, _MACD),
    "macd_signal": Macro(f"EMA of macd ({_APPEL}).", _macd_signal, _OF, (*_MACD, _SIGNAL)),
    "macd_histogram": Macro(f"macd less macd_signal ({_APPEL}).", _macd_histogram, _OF, (*_MACD, _SIGNAL)),
    "bollinger_upper": Macro(f"sma + width·stddev of a field ({_BOLLINGER}).", _bollinger("add"), *_BAND),
    "bollinger_lower": Macro(f"sma − width·stddev of a field ({_BOLLINGER}).", _bollinger("sub"), *_BAND),
    "donchian_upper": Macro(
        "Highest high of the last bars, this one included (R. Donchian): `lag` it for a breakout.",
        lambda window: _over("highest", HIGH, window), (), (_window(20),),
    ),
    "donchian_lower": Macro(
        "Lowest low of the last bars, this one included (R. Donchian): `lag` it for a breakout.",
        lambda window: _over("lowest", LOW, window), (), (_window(20),),
    ),
    "donchian_middle": Macro("Half of donchian_upper + donchian_lower.", _donchian_middle, (), (_window(20),)),
    "keltner_upper": Macro(f"ema + width·atr ({_KELTNER}).", _keltner("add"), *_CHANNEL),
    "keltner_lower": Macro(f"ema − width·atr ({_KELTNER}).", _keltner("sub"), *_CHANNEL),
    "stochastic_k": Macro(
        "%K: 100·(close − lowest low) / (highest high − lowest low), mean of `smooth` bars; unknown without a range "
        "(G. C. Lane, 1984).", _stochastic_k, (), (_window(14), _SMOOTH),
    ),
    "stochastic_d": Macro(
        "%D: mean of %K over `signal` bars (G. C. Lane, 1984).", _stochastic_d, (),
        (_window(14), _SMOOTH, _window(3, name="signal", most=MAX_SCAN)),
    ),
    "cci": Macro(
        "Commodity channel index: (typical − its mean) / (0.015·its mean deviation); unknown where that is 0 "
        "(D. R. Lambert, Commodities, October 1980).", _cci, (), (_window(20, most=MAX_SCAN),),
    ),
    "plus_di": Macro(f"100·Wilder's smoothing of rising movement / atr ({_WILDER}).", _indicator("plus_dm"), (), _ADX),
    "minus_di": Macro(
        f"100·Wilder's smoothing of falling movement / atr ({_WILDER}).", _indicator("minus_dm"), (), _ADX
    ),
    "adx": Macro(f"Wilder's smoothing of 100·|+DI − −DI| / (+DI + −DI) ({_WILDER}).", _adx, (), _ADX),
    "supertrend": Macro(
        f"The trend line of (high + low)/2 ± width·atr; the close is above it while supertrend_up ({_PINE}).",
        _supertrend("trend_line"), **_TREND,
    ),
    "supertrend_up": Macro(
        f"The close has broken the upper of supertrend's bands after the lower ({_PINE}).",
        _supertrend("trend_up"), **_TREND, kind="condition",
    ),
}  # fmt: skip
