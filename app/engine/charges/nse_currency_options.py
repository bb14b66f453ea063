"""Currency options on NSE with Zerodha's brokerage, in paise; no transaction tax. From 1 April 2023.

The notional is the premium.
"""

from datetime import date

from app.engine.charges._india import COMMON_SOURCES, CRORE, PERCENT, Steps, flat_brokerage, heads, levies
from app.engine.schedule import Schedule

SINCE = date(2023, 4, 1)
EXCHANGE: Steps = (  # transaction charge and IPFT
    (date(2023, 4, 1), 3_700 * CRORE),  # 3,500 + 200
    (date(2024, 10, 1), 3_310 * CRORE),  # 3,110 + 200
)

PLUGIN = Schedule(
    name="nse_currency_options",
    title="NSE currency options, Zerodha's brokerage",
    currency="INR",
    heads=heads(None),
    rates=(
        *flat_brokerage(SINCE),
        *levies(exchange=EXCHANGE, stamp=PERCENT // 10_000, start=SINCE),
    ),
    sources=(
        "NSE notices of September 2024 (press): 31.10 a lakh; before, 0.035 % by the charge lists of Zerodha and Samco",
        "IPFT: Zerodha, Fyers, Samco and Upstox 2 a lakh (NSE/FA/56129 of 24 March 2023)",
        *COMMON_SOURCES,
    ),
)
