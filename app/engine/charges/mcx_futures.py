"""Futures on commodities other than farm goods on MCX with Zerodha's brokerage, in paise.

The commodities transaction tax is the seller's. The notional is the contract's value.
"""

from app.engine.charges._india import EXCHANGE_SINCE, SELL, capped_brokerage, heads, levies
from app.engine.schedule import Base, Rate, Schedule

PLUGIN = Schedule(
    name="mcx_futures",
    title="MCX futures, Zerodha's brokerage",
    currency="INR",
    heads=heads("ctt"),
    rates=(
        capped_brokerage(EXCHANGE_SINCE),
        Rate("ctt", Base.NOTIONAL, 100_000, SELL, since=EXCHANGE_SINCE),
        *levies(exchange=21_000, stamp=20_000, since=EXCHANGE_SINCE),
    ),
    sources=(
        "Brokers' published MCX tables; no change of 2026 found",
        "Zerodha support: what is the brokerage; what are the various statutory charges",
    ),
)
