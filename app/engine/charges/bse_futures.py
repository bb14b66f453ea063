"""Indian equity futures on BSE with Zerodha's brokerage, in paise. Known since the tax rate of April 2026.

BSE takes no transaction charge on futures. The notional is the contract's value.
"""

from app.engine.charges._india import SELL, TAX_SINCE, capped_brokerage, heads, levies
from app.engine.schedule import Base, Rate, Schedule

PLUGIN = Schedule(
    name="bse_futures",
    title="BSE futures, Zerodha's brokerage",
    currency="INR",
    heads=heads("stt"),
    rates=(
        capped_brokerage(TAX_SINCE),
        Rate("stt", Base.NOTIONAL, 500_000, SELL, since=TAX_SINCE),
        *levies(exchange=0, stamp=20_000, since=TAX_SINCE),
    ),
    sources=(
        "BSE notices of 27 September 2024, as reported by the press; not verified again since",
        "Finance Act 2026, NSE FATAX73524: securities transaction tax on derivatives from 1 April 2026",
        "Zerodha support: what is the brokerage; what are the various statutory charges",
    ),
)
