"""Currency futures on NSE with Zerodha's brokerage, in paise; no transaction tax. From 1 April 2023.

One source of four puts the investor protection fund at 5 a crore; the others' 50 is taken. Before April 2023 it is not
established.
"""

from datetime import date

from app.engine.charges._india import COMMON_SOURCES, CRORE, PERCENT, Steps, capped_brokerage, heads, levies
from app.engine.schedule import Schedule

SINCE = date(2023, 4, 1)
EXCHANGE: Steps = (  # transaction charge and IPFT
    (date(2023, 4, 1), 140 * CRORE),  # 90 + 50
    (date(2024, 10, 1), 85 * CRORE),  # 35 + 50
)

PLUGIN = Schedule(
    name="nse_currency_futures",
    title="NSE currency futures, Zerodha's brokerage",
    currency="INR",
    heads=heads(None),
    rates=(
        *capped_brokerage(SINCE),
        *levies(exchange=EXCHANGE, stamp=PERCENT // 10_000, start=SINCE),
    ),
    sources=(
        "NSE notices of September 2024 (press): 0.35 a lakh; before, 0.0009 % by the charge lists of Zerodha and Samco",
        "IPFT: Zerodha, Fyers and Samco 0.5 a lakh (NSE/FA/56129 of 24 March 2023), Upstox 0.05",
        *COMMON_SOURCES,
    ),
)
