"""Currency options on NSE with Zerodha's brokerage, in paise; no transaction tax. The notional is the premium."""

from app.engine.charges._india import EXCHANGE_SINCE, flat_brokerage, heads, levies
from app.engine.schedule import Schedule

PLUGIN = Schedule(
    name="nse_currency_options",
    title="NSE currency options, Zerodha's brokerage",
    currency="INR",
    heads=heads(None),
    rates=(
        flat_brokerage(EXCHANGE_SINCE),
        *levies(exchange=331_000, stamp=1_000, since=EXCHANGE_SINCE),
    ),
    sources=(
        "Brokers' published tables after the NSE notices of September 2024; not verified again since",
        "Zerodha support: what is the brokerage; what are the various statutory charges",
    ),
)
