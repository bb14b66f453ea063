"""Which classes of calls are limited apart from each other: a flood of reads must not use up the right to trade."""

from enum import StrEnum


class CostClass(StrEnum):
    """What a call counts as. A route without a declaration is a read or a write, by its method."""

    READS = "reads"
    WRITES = "writes"
    ORDERS = "orders"
    BACKTESTS = "backtests"
