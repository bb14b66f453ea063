"""Indian equity futures on NSE with Zerodha's brokerage, in paise. Known since the tax rate of April 2026.

The notional is the contract's value.
"""

from app.engine.charges._india import SELL, TAX_SINCE, capped_brokerage, heads, levies
from app.engine.schedule import Base, Rate, Schedule

PLUGIN = Schedule(
    name="nse_futures",
    title="NSE futures, Zerodha's brokerage",
    currency="INR",
    heads=heads("stt"),
    rates=(
        capped_brokerage(TAX_SINCE),
        Rate("stt", Base.NOTIONAL, 500_000, SELL, since=TAX_SINCE),
        *levies(exchange=18_300, stamp=20_000, since=TAX_SINCE),
    ),
    sources=(
        "NSE/FA/73061 (1 March 2026): transaction charges and IPFT",
        "Finance Act 2026, NSE FATAX73524: securities transaction tax on derivatives from 1 April 2026",
        "Zerodha support: what is the brokerage; what are the various statutory charges",
    ),
)
