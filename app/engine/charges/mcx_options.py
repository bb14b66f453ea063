"""Options on commodity futures on MCX with Zerodha's brokerage, in paise. From 1 October 2021. The notional is the
premium.

Until September 2021 MCX waived its charge, and what else was charged then is not established. Before October 2024 the
charge was by slabs of the member's turnover: the first is taken. An exercised option is charged nothing here: its tax,
0.0001 % of the settlement value, is of a value that no schedule can see.
"""

from datetime import date

from app.engine.charges._india import (
    COMMON_SOURCES,
    CRORE,
    PERCENT,
    SELL,
    Steps,
    dated,
    flat_brokerage,
    heads,
    levies,
)
from app.engine.schedule import Schedule

SINCE = date(2021, 10, 1)
EXCHANGE: Steps = ((date(2021, 10, 1), 5_000 * CRORE), (date(2024, 10, 1), 4_180 * CRORE))

PLUGIN = Schedule(
    name="mcx_options",
    title="MCX options, Zerodha's brokerage",
    currency="INR",
    heads=heads("ctt"),
    rates=(
        *flat_brokerage(SINCE),
        *dated("ctt", ((SINCE, PERCENT * 5 // 100),), start=SINCE, sides=SELL),
        *levies(exchange=EXCHANGE, stamp=3 * PERCENT // 1_000, start=SINCE),
    ),
    sources=(
        "MCX circular of September 2024 (press): 41.80 a lakh; its notice of July 2021 (press): 50 a lakh from October",
        "Finance Act 2018: commodities transaction tax on options; no change of 2026 found",
        *COMMON_SOURCES,
    ),
)
