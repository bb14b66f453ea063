"""The compiled form of `app.engine.schedule.charges`: same integers, one trade."""

import numpy as np

from app.engine.columns import RateColumn
from app.engine.kernels.integers import multiply_divide
from app.engine.kernels.jit import inlined, kernel
from app.engine.layout import FINE, RATE

HEAD, BASE, PER = int(RateColumn.HEAD), int(RateColumn.BASE), int(RateColumn.RATE)
SIDES, PRODUCTS = int(RateColumn.SIDES), int(RateColumn.PRODUCTS)
MINIMUM, MAXIMUM, LIMIT = int(RateColumn.MINIMUM), int(RateColumn.MAXIMUM), int(RateColumn.LIMIT)
OF, SINCE, UNTIL = int(RateColumn.OF), int(RateColumn.SINCE), int(RateColumn.UNTIL)
COARSE = RATE // FINE


@kernel
def fine_amount(row: np.ndarray, notional: int, quantity: int, unit: int, amounts: np.ndarray) -> int:
    """One rate applied to one trade, at `FINE`."""
    amount: int
    if row[BASE] == 0:
        amount = multiply_divide(notional, row[PER], COARSE, True)
    elif row[BASE] == 1:
        amount = multiply_divide(quantity, row[PER], unit * COARSE, True)
    elif row[BASE] == 2:
        total = 0
        for head in range(amounts.shape[0]):
            if (row[OF] >> head) & 1:
                total += amounts[head]
        amount = multiply_divide(total, row[PER], RATE, True)
    else:
        amount = multiply_divide(1, row[PER], COARSE, True)
    amount = max(amount, row[MINIMUM] * FINE)
    if row[MAXIMUM] >= 0:
        amount = min(amount, row[MAXIMUM] * FINE)
    if row[LIMIT] >= 0:
        amount = min(amount, multiply_divide(notional, row[LIMIT], COARSE, True))
    return amount


@inlined
def charge(
    rates: np.ndarray,
    units: np.ndarray,
    notional: int,
    quantity: int,
    unit: int,
    side: int,
    product: int,
    day: int,
    amounts: np.ndarray,
) -> int:
    """Total in minor units; leaves each rounded head in `amounts`. `side` 0: an exercised option."""
    amounts[:] = 0
    sides = 1 if side > 0 else 2 if side < 0 else 4
    for index in range(rates.shape[0]):
        row = rates[index]
        if row[SINCE] <= day < row[UNTIL] and row[SIDES] & sides and (row[PRODUCTS] >> product) & 1:
            amounts[row[HEAD]] += fine_amount(row, notional, quantity, unit, amounts)
    total = 0
    for head in range(units.shape[0]):
        minor = multiply_divide(amounts[head], 1, FINE * units[head], True) * units[head]
        amounts[head] = minor
        total += minor
    return total
