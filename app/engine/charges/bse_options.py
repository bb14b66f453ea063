"""Options on Sensex and Bankex at BSE with Zerodha's brokerage, in paise. From 1 October 2024. The notional is the
premium.

Before, the charge of these two depended on the expiry and on the member's turnover of the month, and what its clients
paid is not established. Stock options and Sensex 50 pay less: `bse_stock_options`.
"""

from datetime import date

from app.engine.charges._india import (
    COMMON_SOURCES,
    CRORE,
    OPTIONS_TAX,
    PERCENT,
    SELL,
    dated,
    flat_brokerage,
    heads,
    levies,
)
from app.engine.schedule import Schedule

SINCE = date(2024, 10, 1)

PLUGIN = Schedule(
    name="bse_options",
    title="BSE index options, Zerodha's brokerage",
    currency="INR",
    heads=heads("stt"),
    rates=(
        *flat_brokerage(SINCE),
        *dated("stt", OPTIONS_TAX, start=SINCE, sides=SELL),
        *levies(exchange=((SINCE, 3_250 * CRORE),), stamp=3 * PERCENT // 1_000, start=SINCE),
    ),
    sources=(
        "BSE notices of 27 September 2024, as reported by the press; not verified again since",
        "Finance Acts 2024 (No. 2) and 2026 (NSE FATAX73524): tax on the sale of an option",
        *COMMON_SOURCES,
    ),
)
