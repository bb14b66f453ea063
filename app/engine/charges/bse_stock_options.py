"""Options on stocks and on Sensex 50 at BSE with Zerodha's brokerage, in paise. From 15 May 2023. The notional is the
premium. A schedule does not know an option's underlying: whoever trades one of these chooses it.
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

SINCE = date(2023, 5, 15)

PLUGIN = Schedule(
    name="bse_stock_options",
    title="BSE stock and Sensex 50 options, Zerodha's brokerage",
    currency="INR",
    heads=heads("stt"),
    rates=(
        *flat_brokerage(SINCE),
        *option_tax(SINCE),
        *levies(exchange=((SINCE, 500 * CRORE),), stamp=3 * PERCENT // 1_000, start=SINCE),
    ),
    sources=(
        "Zerodha's charge list of early 2024 (0.005 %); BSE notices 20231020-46 and of 27 September 2024: unchanged",
        "Finance Acts 2023, 2024 (No. 2) and 2026 (NSE FATAX73524): tax on the sale of an option",
        "Exercised options: Finance Act 2019 (0.125 % of intrinsic value) and 2026 (0.15 %)",
        *COMMON_SOURCES,
    ),
)
