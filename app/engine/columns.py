"""Decides the columns of the simulated account: instruments, orders, fills, events, charges and settings. Numbers only.

Like `app.engine.layout`: flat int64 arrays, importable anywhere.
"""

from enum import IntEnum


class Static(IntEnum):
    """Per slot, fixed for the run. notional = quantity × price × MULTIPLY / DIVIDE; a multiplier is in them."""

    MULTIPLY = 0
    DIVIDE = 1
    TICK = 2
    LOT = 3
    UNIT = 4  # one whole unit of quantity: 10^qty_exp
    PRODUCT = 5  # index in Product
    CURRENCY = 6  # index of the cash array
    PRICE_SCALE = 7  # 10^price_exp
    MONEY_SCALE = 8  # 10^money_exp
    CLASS = 9  # a `Class`
    MARGINED = 10  # 1: not paid for; profit and loss are what moves
    STRIKE = 11  # of an option


STATIC = len(Static)


class Class(IntEnum):
    """What an instrument is, as far as cash and margin care."""

    EQUITY = 0
    FUTURE = 1
    OPTION = 2


class State(IntEnum):
    """Per slot, changing. The first three are `apply.Position`."""

    QUANTITY = 0
    COST = 1
    REALISED = 2
    CLOSE = 3  # last valid close; 0: never traded
    OPEN_BUY = 4  # working quantities
    OPEN_SELL = 5
    BARS_HELD = 6  # closed bars since the position was opened, the first one included
    TRADED = 7  # quantity filled on this bar
    GONE = 8  # 1: the contract has expired
    OPENED = 9  # the open of the bar that its orders are shown


STATE = len(State)


class Setting(IntEnum):
    """The run's settings: what the program asks for, then the terms of the run."""

    RESERVE_BPS = 0
    TOLERANCE_BPS = 1
    ORDER_TYPE = 2
    OFFSET_BPS = 3
    SLIPPAGE_BPS = 4
    TRADE_FROM = 5  # first row that may decide
    UNITS = 6  # whole units of a full position; 0: a share of the equity
    SIZING = 7  # a `Sizing`
    AMOUNT = 8  # of a full position in whole currency, or the risk of a trade in millionths of the equity
    AT_FILL = 9  # 1: buys carry a budget, and their quantity is worked out when they fill
    SHORT = 10  # 1: positions may be short
    VALIDITY = 11  # of entries, a `Validity`
    STOP_RELATIVE = 12  # 1: the distance is a share of the entry price; 0: a price
    TAKE_RELATIVE = 13
    TRAIL_RELATIVE = 14
    TIME_EXIT = 15  # bars; 0: none
    INTRABAR = 16  # an `Intrabar`
    PARTICIPATION_BPS = 17  # of a bar's volume; 0: not limited
    MARGIN_BPS = 18
    MAINTENANCE_BPS = 19
    BORROW_BPS = 20
    FUTURE_MARGIN_BPS = 21  # of the value of a future
    OPTION_MARGIN_BPS = 22  # of the strike's value, for a short option
    CALL_BPS = 23  # of the margin of contracts
    CONTRACTS = 24  # 1: a slot is a future or an option
    EXIT_TYPE = 25  # of the exits by condition: MARKET or LIMIT_ORDER
    EXIT_VALIDITY = 26  # of exits by limit, a `Validity`
    INTEREST_BPS = 27


SETTING = len(Setting)
SETTINGS_OF_PROGRAM = 7
"""So many settings stand in every digest; the later ones only where a program asks for them."""


class Sizing(IntEnum):
    """What a full position is, where it is no number of units."""

    EQUITY = 0
    CASH = 1
    RISK = 2


class Validity(IntEnum):
    DAY = 0
    TILL_CANCELLED = 1
    BAR = 2


class Intrabar(IntEnum):
    """In which order a bar's prices come when only four of them are known."""

    PESSIMISTIC = 0
    PATH = 1
    LOWER = 2  # finer bars say it


class Kind(IntEnum):
    """Events of the one timeline, in the order in which they happen within a row. Every row has its BAR (not stored)
    and ends with the decision."""

    SPLIT = 0
    DIVIDEND = 1
    BAR = 10
    FILL = 20
    EXPIRY = 25
    SESSION_CLOSE = 30


class Event(IntEnum):
    ROW = 0
    KIND = 1
    SLOT = 2  # -1: every slot
    A = 3  # split: numerator; dividend: amount per unit at price_exp; expiry: settlement price, -1: the close
    B = 4  # split: denominator


EVENT = len(Event)


class Order(IntEnum):
    """The order pool, one row per working order, oldest first. An order with nothing remaining is swept."""

    ID = 0
    SLOT = 1
    SIDE = 2  # +1 buy, -1 sell
    TYPE = 3
    LIMIT = 4
    TRIGGER = 5
    QUANTITY = 6
    REMAINING = 7
    BUDGET = 8  # minor units; the quantity is worked out at the fill
    VALIDITY = 9
    ROLE = 10  # a `Role`
    SEEN = 11  # it has met a price
    REASON = 12
    ROW = 13  # decided after this row, or activated in it
    UNSURE = 14  # activated within a bar: its other prices may have come before
    STOP = 15  # of an entry: distances of the exits it activates, price or millionths
    TAKE = 16  # of an exit by limit: the price of the take-profit that it stands for
    TRAIL = 17  # of a stop: it follows the best price at this distance


ORDER = len(Order)
MARKET, LIMIT_ORDER, STOP_ORDER, STOP_LIMIT = 0, 1, 2, 3


class Role(IntEnum):
    """PLAIN orders stand alone. A fill of an ENTRY activates its exits; the EXITs of a slot cancel one another."""

    PLAIN = 0
    ENTRY = 1
    EXIT = 2


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
    STOP_LOSS = 4
    TAKE_PROFIT = 5
    TRAILING_STOP = 6
    TIME_EXIT = 7
    SQUARE_OFF = 8
    MARGIN_CALL = 9
    EXPIRY = 10


class Cause(IntEnum):
    """Why a price filled it."""

    MARKET = 0
    GAP = 1
    TRADE_THROUGH = 2
    STOP = 3
    SETTLEMENT = 4


class Counter(IntEnum):
    EVENT = 0  # the next corporate action
    ORDERS = 1  # issued so far
    POOL = 2  # working now
    FILLS = 3  # in the buffer
    EXPIRED = 4
    UNAFFORDABLE = 5
    AMBIGUOUS = 6  # fills that another order of a bar's prices could have changed
    MARGIN_CALLS = 7
    BORROW = 8  # paid so far, minor units
    DAY = 9  # of the row before
    CANCELLED = 10
    SESSION = 11  # the next end of a session
    INTEREST = 12  # earned so far, minor units


COUNTER = len(Counter)


class Intended(IntEnum):
    """One intent out of the sizing kernel."""

    SLOT = 0
    SIDE = 1
    QUANTITY = 2
    LIMIT = 3
    REASON = 4
    BUDGET = 5


INTENDED = len(Intended)


class RateColumn(IntEnum):
    """A charge schedule as rows; -1 in MAXIMUM and LIMIT means none; OF, SIDES and PRODUCTS are bit masks."""

    HEAD = 0
    BASE = 1
    RATE = 2
    SIDES = 3  # 1 buy, 2 sell, 4 exercise
    PRODUCTS = 4
    MINIMUM = 5
    MAXIMUM = 6
    LIMIT = 7
    OF = 8
    SINCE = 9  # days since 1970-01-01
    UNTIL = 10


RATE_COLUMNS = len(RateColumn)
