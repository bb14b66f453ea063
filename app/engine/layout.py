"""Decides the columns of every flat array that kernels and their callers share. Numbers only: importable anywhere.

Arrays are C-contiguous; prices, quantities and cash are int64, validity is uint8, registers are float64.
"""

from enum import IntEnum

ENGINE_VERSION = 1
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
    GT = 40
    GE = 41
    LT = 42
    LE = 43
    EQ = 44
    NE = 45
    AND = 46
    OR = 47
    NOT = 48
    SELECT = 50
    LATCH = 51
    EMA = 60
    WILDER = 61
    HIGHEST = 62
    LOWEST = 63


class Code(IntEnum):
    """One instruction: operation, input registers, integer arguments, offsets of its state, unit of its value."""

    OP = 0
    A = 1
    B = 2
    C = 3
    I0 = 4
    I1 = 5
    STATE = 6
    FLOATS = 7
    UNIT = 8


CODE = len(Code)


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


class Static(IntEnum):
    """Per slot, fixed for the run. notional = quantity × price × MULTIPLY / DIVIDE."""

    MULTIPLY = 0
    DIVIDE = 1
    TICK = 2
    LOT = 3
    UNIT = 4  # one whole unit of quantity: 10^qty_exp
    PRODUCT = 5  # index in Product
    CURRENCY = 6  # index of the cash array
    PRICE_SCALE = 7  # 10^price_exp


STATIC = len(Static)


class State(IntEnum):
    """Per slot, changing. The first three are `apply.Position`."""

    QUANTITY = 0
    COST = 1
    REALISED = 2
    CLOSE = 3  # last valid close; 0: never traded
    OPEN_BUY = 4  # working quantities
    OPEN_SELL = 5


STATE = len(State)


class Setting(IntEnum):
    """The run's settings."""

    RESERVE_BPS = 0
    TOLERANCE_BPS = 1
    ORDER_TYPE = 2
    OFFSET_BPS = 3
    SLIPPAGE_BPS = 4
    TRADE_FROM = 5  # first row that may decide
    UNITS = 6  # whole units of a full position; 0: a share of the equity


SETTING = len(Setting)


class Kind(IntEnum):
    """Events of the one timeline, in the order in which they happen within a row. Every row has its BAR (not stored)
    and ends with the decision."""

    SPLIT = 0
    DIVIDEND = 1
    EXPIRY = 2
    BAR = 10
    FILL = 20
    SESSION_CLOSE = 30


class Event(IntEnum):
    ROW = 0
    KIND = 1
    SLOT = 2  # -1: every slot
    A = 3  # split: numerator; dividend: amount per unit at price_exp
    B = 4  # split: denominator


EVENT = len(Event)


class Order(IntEnum):
    """The order pool, one row per working order, oldest first."""

    ID = 0
    SLOT = 1
    SIDE = 2  # +1 buy, -1 sell
    TYPE = 3  # index in ORDER_TYPES
    LIMIT = 4
    QUANTITY = 5
    REMAINING = 6
    VALIDITY = 7  # 0 day, 1 good till cancelled
    GROUP = 8  # one cancels the other
    PARENT = 9  # id of the order whose fill activates this one
    ROLE = 10
    SEEN = 11  # it has met a price
    REASON = 12
    ROW = 13  # decided after this row


ORDER = len(Order)
MARKET, LIMIT_ORDER = 0, 1


class FillColumn(IntEnum):
    ROW = 0
    SLOT = 1
    SIDE = 2
    QUANTITY = 3
    PRICE = 4
    NOTIONAL = 5
    CHARGES = 6
    ORDER = 7
    REASON = 8
    CAUSE = 9
    CASH = 10


FILL = len(FillColumn)


class Reason(IntEnum):
    """Why an order exists."""

    ENTER = 0
    INCREASE = 1
    REDUCE = 2
    EXIT = 3


class Cause(IntEnum):
    """Why a price filled it."""

    MARKET = 0
    GAP = 1
    TRADE_THROUGH = 2


class Counter(IntEnum):
    EVENT = 0
    ORDERS = 1  # issued so far
    POOL = 2  # working now
    FILLS = 3  # in the buffer
    EXPIRED = 4
    UNAFFORDABLE = 5


COUNTER = len(Counter)


class Intended(IntEnum):
    """One intent out of the sizing kernel."""

    SLOT = 0
    SIDE = 1
    QUANTITY = 2
    LIMIT = 3
    REASON = 4


INTENDED = len(Intended)


class RateColumn(IntEnum):
    """A charge schedule as rows; -1 in MAXIMUM and LIMIT means none; OF, SIDES and PRODUCTS are bit masks."""

    HEAD = 0
    BASE = 1
    RATE = 2
    SIDES = 3  # 1 buy, 2 sell
    PRODUCTS = 4
    MINIMUM = 5
    MAXIMUM = 6
    LIMIT = 7
    OF = 8
    SINCE = 9  # days since 1970-01-01
    UNTIL = 10


RATE_COLUMNS = len(RateColumn)
