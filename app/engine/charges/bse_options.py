"""Options on Sensex and Bankex at BSE with Zerodha's brokerage, in paise. Known since the tax rate of April 2026.

The notional is the premium. Stock options and Sensex 50 pay the exchange less (500 a crore) and are not here.
"""

from app.engine.charges._india import SELL, TAX_SINCE, flat_brokerage, heads, levies
from app.engine.schedule import Base, Rate, Schedule

PLUGIN = Schedule(
    name="bse_options",
    title="BSE index options, Zerodha's brokerage",
    currency="INR",
    heads=heads("stt"),
    rates=(
        flat_brokerage(TAX_SINCE),
        Rate("stt", Base.NOTIONAL, 1_500_000, SELL, since=TAX_SINCE),
        *levies(exchange=325_000, stamp=30_000, since=TAX_SINCE),
    ),
    sources=(
        "BSE notices of 27 September 2024, as reported by the press; not verified again since",
        "Finance Act 2026, NSE FATAX73524: securities transaction tax on derivatives from 1 April 2026",
        "Zerodha support: what is the brokerage; what are the various statutory charges",
    ),
)
