"""Currency futures on NSE with Zerodha's brokerage, in paise; no transaction tax.

One source of two puts the investor protection fund at 50 a crore, taken here, the other at 5.
"""

from app.engine.charges._india import EXCHANGE_SINCE, capped_brokerage, heads, levies
from app.engine.schedule import Schedule

PLUGIN = Schedule(
    name="nse_currency_futures",
    title="NSE currency futures, Zerodha's brokerage",
    currency="INR",
    heads=heads(None),
    rates=(
        capped_brokerage(EXCHANGE_SINCE),
        *levies(exchange=8_500, stamp=1_000, since=EXCHANGE_SINCE),
    ),
    sources=(
        "Brokers' published tables after the NSE notices of September 2024; not verified again since",
        "Zerodha support: what is the brokerage; what are the various statutory charges",
    ),
)
