"""Decides the columns of every flat array that kernels and their callers share. Numbers only: importable anywhere.

Arrays are C-contiguous; prices, quantities and cash are int64, validity is uint8, registers are float64.
"""

from enum import IntEnum

ENGINE_VERSION = 2
"""Part of every program digest. A change of any computed bit raises it."""

BLOCK = 4096
"""Rows per block: registers of a small program stay in the second-level cache."""
WEIGHT = 10**9
"""Scale of a target weight: 1.0 of the deployment's equity."""
BPS = 10_000
FINE = 10**8
"""Internal scale of a charge: parts of one minor unit (of a rupee: ten decimal places)."""
RATE = 10**9
"""Scale of every charge rate."""
PRICE_LIMIT = 2**46
"""Prices and volumes must lie below: it keeps every exact window sum inside its integers."""


class Field(IntEnum):
    OPEN = 0
    HIGH = 1
    LOW = 2
    CLOSE = 3
    VOLUME = 4


FIELDS = len(Field)


class Op(IntEnum):
    CONST = 0
    FIELD = 1
    MONTH = 2
    DAY = 3
    WEEKDAY = 4
    MONTH_CHANGED = 5
    DATE_NUMBER = 6
    BAR_OF_DAY = 7
    INSTRUMENT = 8
    SMA = 10
    STDDEV = 11
    ZSCORE = 12
    RETURN = 13
    LAG = 20
    ADD = 30
    SUB = 31
    MUL = 32
    DIV = 33
    MIN = 34
    MAX = 35
    NEG = 36
    ABS = 37
    MOD = 38
    SQRT = 39
    GT = 40
    GE = 41
    LT = 42
    LE = 43
    EQ = 44
    NE = 45
    AND = 46
    OR = 47
    NOT = 48
    GATHER = 49  # a column of every row, at those where a rule holds
    SELECT = 50
    LATCH = 51
    EMA = 60
    WILDER = 61
    HIGHEST = 62
    LOWEST = 63
    VOLATILITY = 64
    OPENING_HIGH = 65
    OPENING_LOW = 66
    PEER = 68
    RANK = 69  # a peer and a rank read the other instruments of the run
    WMA = 70
    SLOPE = 71
    MEAN = 72
    MEAN_DEVIATION = 73
    PERCENT_RANK = 74
    TYPICAL = 75
    VWAP = 76
    OBV = 77
    PLUS_DM = 78
    MINUS_DM = 79
    TREND_LINE = 80
    TREND_UP = 81
    DEVIATION = 82
    GROWTH = 83
    FLAT = 90  # of the position: from here on evaluated row by row, with the book
    LONG = 91
    SHORT = 92
    BARS_HELD = 93
    ENTRY_PRICE = 94
    OPEN_PROFIT = 95


class Code(IntEnum):
    """One instruction: operation, input registers, integer arguments, offsets of its state, unit, scope."""

    OP = 0
    A = 1
    B = 2
    C = 3
    I0 = 4
    I1 = 5
    STATE = 6
    FLOATS = 7
    UNIT = 8
    SHARED = 9  # a `Shared`


CODE = len(Code)


class Shared(IntEnum):
    """Does an instruction depend on the date alone, and does one that does not read it?"""

    NO = 0
    YES = 1
    WITHIN = 2  # read by others of its kind only


class Window(IntEnum):
    """Integer state of a window; the ring of raw values follows."""

    HEAD = 0
    COUNT = 1
    SUM = 2
    HIGH_SQUARES = 3
    CROSS_SQUARES = 4
    LOW_SQUARES = 5


WINDOW = len(Window)
LIMB = 24
"""Bits of one limb of an exact sum of squares."""


class Extreme(IntEnum):
    """Integer state of a moving extreme; the times of its candidates follow."""

    HEAD = 0
    SIZE = 1
    SEEN = 2


EXTREME = len(Extreme)


class Ramp(IntEnum):
    """Integer state of a window weighed by age; the ring of raw values follows."""

    HEAD = 0
    COUNT = 1
    SUM = 2
    WEIGHTED = 3


RAMP = len(Ramp)


class Session(IntEnum):
    """Integer state of the volume-weighted price of a trading date: Σ price × volume in limbs of 24 bits, Σ volume."""

    DAY = 0
    HIGH = 1
    CROSS = 2
    LOW = 3
    VOLUME = 4


SESSION = len(Session)


class Before(IntEnum):
    """Integer state of what compares a bar with the one before."""

    SEEN = 0
    FIRST = 1
    SECOND = 2


BEFORE = len(Before)


class Signal(IntEnum):
    """Per-slot state of the signal column."""

    KNOWN = 0
    WEIGHT = 1
    MONTH = 2


SIGNAL = len(Signal)


class Flag(IntEnum):
    """What one bar says of one slot: nothing known, hold, or trade to the target."""

    UNKNOWN = 0
    HOLD = 1
    REBALANCE = 2


class Rebalance(IntEnum):
    ON_CHANGE = 0
    MONTHLY = 1
    WHEN = 2


class Output(IntEnum):
    """What a program of trades says: a node each, -1 where it says nothing."""

    ENTER_LONG = 0
    EXIT_LONG = 1
    ENTER_SHORT = 2
    EXIT_SHORT = 3
    SHARE = 4
    PRICE = 5  # limit of a limit entry, trigger of a stop entry
    LIMIT = 6  # of a stop-limit entry
    STOP = 7
    TAKE = 8
    TRAIL = 9
    EXIT_PRICE = 10  # of an exit by limit


OUTPUT = len(Output)
OUTPUTS_OF_PROGRAM = 10
"""So many outputs stand in every digest of a program of trades; the later ones only where it says them."""
