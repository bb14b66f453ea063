"""Indian equity futures on BSE with Zerodha's brokerage, in paise. From their relaunch on 15 May 2023.

BSE takes no transaction charge on futures. The notional is the contract's value.
"""

from datetime import date

from app.engine.charges._india import (
    COMMON_SOURCES,
    FUTURES_TAX,
    PERCENT,
    SELL,
    capped_brokerage,
    dated,
    heads,
    levies,
)
from app.engine.schedule import Schedule

SINCE = date(2023, 5, 15)

PLUGIN = Schedule(
    name="bse_futures",
    title="BSE futures, Zerodha's brokerage",
    currency="INR",
    heads=heads("stt"),
    rates=(
        *capped_brokerage(SINCE),
        *dated("stt", FUTURES_TAX, start=SINCE, sides=SELL),
        *levies(exchange=((SINCE, 0),), stamp=2 * PERCENT // 1_000, start=SINCE),
    ),
    sources=(
        "BSE notices of 27 September 2024 (press), Zerodha's charge list of early 2024: nil; not verified again",
        "Finance Acts 2023, 2024 (No. 2) and 2026 (NSE FATAX73524): tax on the sale of a future",
        *COMMON_SOURCES,
    ),
)
