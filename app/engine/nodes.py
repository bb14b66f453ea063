"""Decides the words of the strategy language: every operation, its inputs, its integer arguments, its look-back."""

from dataclasses import dataclass
from typing import Literal

from app.engine.layout import Field, Op

MAX_NODES = 256
MAX_WINDOW = 5000
MAX_INSTRUMENTS = 10_000
MAX_DEPTH = 32
MAX_RAMP = 300
"""Longest window weighed by age: its exact sums fit into 64 bits for any price below `layout.PRICE_LIMIT`."""
MAX_SCAN = 500
"""Longest window of a word whose work per bar grows with it."""

Kind = Literal["number", "condition"]


@dataclass(frozen=True, slots=True)
class Argument:
    """An integer of an operation: a literal or a parameter. `least` and `most` are included."""

    name: str
    least: int
    most: int
    default: int | None = None


@dataclass(frozen=True, slots=True)
class Word:
    """One operation. `inputs`: names of its expressions and their kinds; `field_of`: the one input must be a bar field,
    because the operation is exact on integers only."""

    op: Op
    kind: Kind
    summary: str
    inputs: tuple[tuple[str, Kind], ...] = ()
    arguments: tuple[Argument, ...] = ()
    field_of: bool = False


FIELD_WORDS = {"open": Field.OPEN, "high": Field.HIGH, "low": Field.LOW, "close": Field.CLOSE, "volume": Field.VOLUME}
_WINDOW = Argument("window", 1, MAX_WINDOW)
_RAMP = (Argument("window", 2, MAX_RAMP),)
_SCAN = (Argument("window", 1, MAX_SCAN),)
_DDOF = Argument("ddof", 0, 1, default=0)
_PAIR: tuple[tuple[str, Kind], ...] = (("left", "number"), ("right", "number"))
_BOTH: tuple[tuple[str, Kind], ...] = (("left", "condition"), ("right", "condition"))
_BANDS: tuple[tuple[str, Kind], ...] = (("upper", "number"), ("lower", "number"))
_OF: tuple[tuple[str, Kind], ...] = (("of", "number"),)

WORDS: dict[str, Word] = {
    **{name: Word(Op.FIELD, "number", f"The bar's {name}.") for name in FIELD_WORDS},
    "month": Word(Op.MONTH, "number", "Month of the trading date, 1 to 12."),
    "day": Word(Op.DAY, "number", "Day of the month of the trading date, 1 to 31."),
    "weekday": Word(Op.WEEKDAY, "number", "Day of the week, Monday 1 to Sunday 7."),
    "date_number": Word(Op.DATE_NUMBER, "number", "The trading date as days since 1970-01-01."),
    "bar_of_day": Word(Op.BAR_OF_DAY, "number", "How many bars of the trading date have closed, this one included."),
    "month_changed": Word(Op.MONTH_CHANGED, "condition", "The first bar of another month than the bar before."),
    "sma": Word(Op.SMA, "number", "Mean of the last `window` values: exact of a field.", _OF, (_WINDOW,), True),
    "stddev": Word(
        Op.STDDEV, "number", "Standard deviation of the last `window` values, exact of a field; divisor window − ddof.",
        _OF, (Argument("window", 2, MAX_WINDOW), _DDOF), True,
    ),
    "zscore": Word(
        Op.ZSCORE, "number", "Distance from the mean over `window`, in standard deviations; exact of a field.", _OF,
        (Argument("window", 2, MAX_WINDOW), _DDOF), True,
    ),
    "return": Word(
        Op.RETURN, "number", "x[t − skip] / x[t − bars] − 1 of a field.", _OF,
        (Argument("bars", 1, MAX_WINDOW), Argument("skip", 0, MAX_WINDOW, default=0)), True,
    ),
    "lag": Word(Op.LAG, "number", "The value `bars` bars ago.", _OF, (Argument("bars", 1, MAX_WINDOW),)),
    "add": Word(Op.ADD, "number", "left + right", _PAIR),
    "sub": Word(Op.SUB, "number", "left − right", _PAIR),
    "mul": Word(Op.MUL, "number", "left × right", _PAIR),
    "div": Word(Op.DIV, "number", "left / right; unknown where right is 0.", _PAIR),
    "min": Word(Op.MIN, "number", "The smaller.", _PAIR),
    "max": Word(Op.MAX, "number", "The larger.", _PAIR),
    "neg": Word(Op.NEG, "number", "−of", _OF),
    "abs": Word(Op.ABS, "number", "|of|", _OF),
    "mod": Word(Op.MOD, "number", "left − right × ⌊left / right⌋; unknown where right is 0.", _PAIR),
    "sqrt": Word(Op.SQRT, "number", "√of; unknown below 0.", _OF),
    "gt": Word(Op.GT, "condition", "left > right", _PAIR),
    "ge": Word(Op.GE, "condition", "left ≥ right", _PAIR),
    "lt": Word(Op.LT, "condition", "left < right", _PAIR),
    "le": Word(Op.LE, "condition", "left ≤ right", _PAIR),
    "eq": Word(Op.EQ, "condition", "left = right", _PAIR),
    "ne": Word(Op.NE, "condition", "left ≠ right", _PAIR),
    "and": Word(Op.AND, "condition", "Both hold.", _BOTH),
    "or": Word(Op.OR, "condition", "At least one holds.", _BOTH),
    "not": Word(Op.NOT, "condition", "It does not hold.", (("of", "condition"),)),
    "select": Word(
        Op.SELECT, "number", "`then` where `when` holds, else `else`.",
        (("when", "condition"), ("then", "number"), ("else", "number")),
    ),
    "latch": Word(
        Op.LATCH, "condition", "Off until `enter` holds, then on until `exit` holds (hysteresis).",
        (("enter", "condition"), ("exit", "condition")),
    ),
    "ema": Word(
        Op.EMA, "number", "y += 2/(window + 1) · (x − y), starting from the mean of the first `window` values.",
        _OF, (_WINDOW,),
    ),
    "wilder": Word(
        Op.WILDER, "number", "Wilder's smoothing: y += (x − y)/window, from the mean of the first `window` values.",
        _OF, (_WINDOW,),
    ),
    "highest": Word(Op.HIGHEST, "number", "The largest of the last `window` values.", _OF, (_WINDOW,)),
    "lowest": Word(Op.LOWEST, "number", "The smallest of the last `window` values.", _OF, (_WINDOW,)),
    "volatility": Word(
        Op.VOLATILITY, "number", "Sample deviation of the last `window` returns of a field, times √`periods` (a year).",
        _OF, (Argument("window", 2, MAX_SCAN), Argument("periods", 1, 200_000, default=252)), True,
    ),
    "wma": Word(
        Op.WMA, "number", "Mean of the last values of a field, weighed 1 for the oldest to `window` for the newest.",
        _OF, _RAMP, True,
    ),
    "slope": Word(
        Op.SLOPE, "number", "Rise a bar of the least-squares line through the last `window` values of a field.",
        _OF, _RAMP, True,
    ),
    "mean_deviation": Word(
        Op.MEAN_DEVIATION, "number", "Mean distance of the last `window` values from their mean.", _OF, _SCAN
    ),
    "percent_rank": Word(
        Op.PERCENT_RANK, "number", "Percentage of the `window` values before that are not above the present one.",
        _OF, _SCAN,
    ),
    "typical": Word(Op.TYPICAL, "number", "(high + low + close) / 3"),
    "vwap": Word(
        Op.VWAP, "number",
        "Volume-weighted average of the typical price over the trading date so far; unknown before anything traded.",
    ),
    "obv": Word(
        Op.OBV, "number",
        "On-balance volume: Σ volume × sign of the close's change since the first bar; only its changes mean anything.",
    ),
    "growth": Word(
        Op.GROWTH, "number",
        "The close as a multiple of the first bar's, splits followed; only ratios of it mean anything."
    ),
    "plus_dm": Word(Op.PLUS_DM, "number", "Rise of the high, where it exceeds the fall of the low and 0; else 0."),
    "minus_dm": Word(Op.MINUS_DM, "number", "Fall of the low, where it exceeds the rise of the high and 0; else 0."),
    "trend_line": Word(
        Op.TREND_LINE, "number",
        "Of two bands the one behind the close, moved only towards it, until the close breaks the other.", _BANDS,
    ),
    "trend_up": Word(Op.TREND_UP, "condition", "The line of trend_line is the lower band.", _BANDS),
    "opening_high": Word(
        Op.OPENING_HIGH, "number", "Highest high of the first `bars` bars of the trading date; known once they closed.",
        (), (Argument("bars", 1, 1500),),
    ),
    "opening_low": Word(
        Op.OPENING_LOW, "number", "Lowest low of the first `bars` bars of the trading date; known once they closed.",
        (), (Argument("bars", 1, 1500),),
    ),
    "instrument": Word(Op.INSTRUMENT, "number", "The number of this instrument in the run's list, from 1."),
    "of_instrument": Word(
        Op.PEER, "number",
        "The value that `of`, a ratio, has for instrument `number` of the run's list; unknown where it has no bar.",
        _OF, (Argument("number", 1, MAX_INSTRUMENTS),),
    ),
    "rank": Word(
        Op.RANK, "number", "Place of `of` among the run's instruments, 1 for the largest; ties in their order.",
        _OF,
    ),
    "flat": Word(Op.FLAT, "condition", "There is no position."),
    "long": Word(Op.LONG, "condition", "The position is long."),
    "short": Word(Op.SHORT, "condition", "The position is short."),
    "bars_held": Word(Op.BARS_HELD, "number", "Closed bars since the position was opened; 0 while flat."),
    "entry_price": Word(Op.ENTRY_PRICE, "number", "Average price of the open position; the close while flat."),
    "open_profit": Word(
        Op.OPEN_PROFIT, "number", "Profit of the open position at the close, in % of its cost; 0 while flat."
    ),
}  # fmt: skip
