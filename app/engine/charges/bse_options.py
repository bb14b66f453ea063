"""Options on Sensex and Bankex at BSE with Zerodha's brokerage, in paise. From 1 October 2024. The notional is the
premium.

Before, the charge of these two depended on the expiry and on the member's turnover of the month, and what its clients
paid is not established. Stock options and Sensex 50 pay less: `bse_stock_options`.
"""

from datetime import date

from app.engine.charges._india import (
    COMMON_SOURCES,
    CRORE,
    PERCENT,
    flat_brokerage,
    heads,
    levies,
    option_tax,
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
        *option_tax(SINCE),
        *levies(exchange=((SINCE, 3_250 * CRORE),), stamp=3 * PERCENT // 1_000, start=SINCE),
    ),
    sources=(
        "BSE notices of 27 September 2024, as reported by the press; not verified again since",
        "Finance Acts 2024 (No. 2) and 2026 (NSE FATAX73524): tax on the sale of an option",
        "Exercised options: Finance Act 2019 (0.125 % of intrinsic value) and 2026 (0.15 %)",
        *COMMON_SOURCES,
    ),
)
