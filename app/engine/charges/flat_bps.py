"""Ten basis points (0.1 %) of the value of each side, in any currency: the convention of most published backtests."""

from app.engine.schedule import Base, Rate, Schedule

PLUGIN = Schedule(
    name="flat_bps",
    title="0.1 % of each side",
    currency=None,
    heads={"commission": 1},
    rates=(Rate("commission", Base.NOTIONAL, 1_000_000),),
)
