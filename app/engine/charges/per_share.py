"""Half a minor unit per share of each side, at least one hundred an order, in any currency: a per-share broker alone.

Five thousandths of a dollar and a dollar, in dollars. Without the fees of any market: `us_equity` has those.
"""

from app.engine.schedule import Base, Rate, Schedule

PLUGIN = Schedule(
    name="per_share",
    title="0.005 a share, at least 1.00 an order",
    currency=None,
    heads={"commission": 1},
    rates=(Rate("commission", Base.UNITS, 500_000_000, minimum=100),),
)
