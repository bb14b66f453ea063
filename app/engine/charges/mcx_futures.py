"""Futures on commodities other than farm goods on MCX with Zerodha's brokerage, in paise. From 1 July 2020.

The commodities transaction tax, of July 2013, is the seller's. The notional is the contract's value. Before October
2024 the charge was by slabs of the member's turnover: the first is taken. Before July 2020 the sources do not say.
"""

from datetime import date

from app.engine.charges._india import (
    COMMON_SOURCES,
    CRORE,
    PERCENT,
    SELL,
    Steps,
    capped_brokerage,
    dated,
    heads,
    levies,
)
from app.engine.schedule import Schedule

SINCE = date(2020, 7, 1)
EXCHANGE: Steps = ((date(2020, 7, 1), 260 * CRORE), (date(2024, 10, 1), 210 * CRORE))

PLUGIN = Schedule(
    name="mcx_futures",
    title="MCX futures, Zerodha's brokerage",
    currency="INR",
    heads=heads("ctt"),
    rates=(
        *capped_brokerage(SINCE),
        *dated("ctt", ((SINCE, PERCENT // 100),), start=SINCE, sides=SELL),
        *levies(exchange=EXCHANGE, stamp=2 * PERCENT // 1_000, start=SINCE),
    ),
    sources=(
        "MCX circular of September 2024 (press): 2.10 a lakh",
        "Before: 0.0026 % by charge lists of Zerodha and Samco, undated, with the stamp duty of July 2020",
        "Finance Act 2013: commodities transaction tax; no change of 2026 found",
        *COMMON_SOURCES,
    ),
)
