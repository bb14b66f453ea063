"""Options on commodity futures on MCX with Zerodha's brokerage, in paise. The notional is the premium."""

from app.engine.charges._india import EXCHANGE_SINCE, SELL, flat_brokerage, heads, levies
from app.engine.schedule import Base, Rate, Schedule

PLUGIN = Schedule(
    name="mcx_options",
    title="MCX options, Zerodha's brokerage",
    currency="INR",
    heads=heads("ctt"),
    rates=(
        flat_brokerage(EXCHANGE_SINCE),
        Rate("ctt", Base.NOTIONAL, 500_000, SELL, since=EXCHANGE_SINCE),
        *levies(exchange=418_000, stamp=30_000, since=EXCHANGE_SINCE),
    ),
    sources=(
        "Brokers' published MCX tables; no change of 2026 found",
        "Zerodha support: what is the brokerage; what are the various statutory charges",
    ),
)
