"""Decides what an intraday position blocks of its account's cash: a share of what it cost, by its venue."""

from app.kernel.money import Rounding, divide

_BPS = 10_000
_RATES_BPS = {"XNSE": 2_000, "XBOM": 2_000, "XNAS": 5_000, "XNYS": 5_000}
"""Of cash equity. NSE and BSE: the least that SEBI lets a broker collect upfront, a fifth of the trade in the place of
VaR and extreme loss margin (SEBI/HO/MIRSD/DOP/CIR/P/2019/139). The US: the initial margin of Regulation T, 12 CFR
220.12. A live broker's own rate may be higher; he refuses the order then."""

ON_MARGIN = frozenset({"EQ"})
"""Segments that these rates are for: what a written option may cost is no share of what it brought."""


def margin_of(cost_minor: int, venue: str) -> int:
    """Of a position that cost so much (below zero: brought), in minor units, rounded up. All of it where the venue has
    no rate."""
    return divide(abs(cost_minor) * _RATES_BPS.get(venue, _BPS), _BPS, Rounding.UP)
