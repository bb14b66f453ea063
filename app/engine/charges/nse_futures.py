"""Indian equity futures on NSE with Zerodha's brokerage, in paise. From 1 June 2013. The notional is the contract's
value.

The exchange charge was by slabs of the member's turnover until October 2024: the first slab is taken.
"""

from datetime import date

from app.engine.charges._india import (
    COMMON_SOURCES,
    CRORE,
    FUTURES_TAX,
    PERCENT,
    SELL,
    Steps,
    capped_brokerage,
    dated,
    heads,
    levies,
)
from app.engine.schedule import Schedule

SINCE = date(2013, 6, 1)
EXCHANGE: Steps = (  # transaction charge and IPFT
    (date(2013, 6, 1), 19_001),  # 190 + 0.01
    (date(2021, 1, 1), 20_001),  # 200 + 0.01
    (date(2023, 4, 1), 200 * CRORE),  # 190 + 10
    (date(2024, 4, 1), 198 * CRORE),  # 188 + 10; the day from memory
    (date(2024, 10, 1), 183 * CRORE),  # 173 + 10; since March 2026 182.99 + 0.01
)

PLUGIN = Schedule(
    name="nse_futures",
    title="NSE futures, Zerodha's brokerage",
    currency="INR",
    heads=heads("stt"),
    rates=(
        *capped_brokerage(SINCE),
        *dated("stt", FUTURES_TAX, start=SINCE, sides=SELL),
        *levies(exchange=EXCHANGE, stamp=2 * PERCENT // 1_000, start=SINCE),
    ),
    sources=(
        "NSE/FA/73061 (1 March 2026): transaction charges and IPFT; notices of September 2024: 1.73 a lakh",
        "NSE/F&A/13029 (7 September 2009): 1.90 a lakh, first slab; NSE's release of 24 March 2023",
        "Zerodha's charge lists of 2021 (0.002 %) and early 2024 (0.0019 %)",
        "1.88: from the net change of October 2024 as Zerodha's founder gave it; its first day from memory",
        "Finance Acts 2013, 2023, 2024 (No. 2) and 2026 (NSE FATAX73524): tax on the sale of a future",
        *COMMON_SOURCES,
    ),
)
