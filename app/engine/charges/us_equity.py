"""US listed equity at a per-share retail broker, in cents: commission, SEC fee and FINRA's activity fee.

Commission: 0.005 dollars a share, at least 1 dollar an order, at most 1 % of its value. The two fees are charged on
sales, at the rate of the trade date, each rounded half up to the cent. Dates of the SEC's rates are those on which its
fee-rate advisories took effect; FINRA's fee before July 2011 is taken at that year's rate.
"""

from datetime import date

from app.engine.schedule import Base, Rate, Schedule
from app.kernel.orders import Side

_SELL = (Side.SELL,)
_CENT = 10**9

# (first day, cents per million dollars): Section 31 of the Securities Exchange Act
_SEC = (
    (date(1999, 1, 1), 3330),
    (date(2001, 12, 28), 1500),
    (date(2002, 4, 1), 3010),
    (date(2003, 3, 22), 2520),
    (date(2003, 4, 1), 4680),
    (date(2004, 2, 22), 3900),
    (date(2004, 4, 1), 2340),
    (date(2005, 1, 7), 3290),
    (date(2005, 4, 1), 4180),
    (date(2005, 12, 22), 3070),
    (date(2007, 3, 17), 1530),
    (date(2008, 1, 25), 1100),
    (date(2008, 4, 1), 560),
    (date(2009, 4, 10), 2570),
    (date(2010, 1, 15), 1270),
    (date(2010, 4, 1), 1690),
    (date(2011, 1, 21), 1920),
    (date(2012, 2, 21), 1800),
    (date(2012, 4, 1), 2240),
    (date(2013, 5, 25), 1740),
    (date(2014, 3, 18), 2210),
    (date(2015, 2, 14), 1840),
    (date(2016, 2, 16), 2180),
    (date(2017, 7, 4), 2310),
    (date(2018, 5, 22), 1300),
    (date(2019, 4, 16), 2070),
    (date(2020, 2, 18), 2210),
    (date(2021, 2, 25), 510),
    (date(2022, 5, 14), 2290),
    (date(2023, 2, 27), 800),
    (date(2024, 5, 22), 2780),
    (date(2025, 5, 14), 0),
    (date(2026, 4, 4), 2060),
)

# (first day, 10^-6 dollars per share, cap in cents per trade)
_TAF = (
    (date(2002, 10, 1), 75, 375),
    (date(2011, 7, 1), 90, 450),
    (date(2012, 3, 1), 95, 475),
    (date(2012, 7, 1), 119, 595),
    (date(2022, 1, 1), 130, 649),
    (date(2023, 1, 1), 145, 727),
    (date(2024, 1, 1), 166, 830),
    (date(2026, 1, 1), 195, 979),
)


def _rates() -> tuple[Rate, ...]:
    sec_ends = [start for start, _ in _SEC[1:]] + [date.max]
    taf_ends = [start for start, _, _ in _TAF[1:]] + [date.max]
    return (
        Rate("commission", Base.UNITS, _CENT // 2, minimum=100, limit_notional=10_000_000, since=_SEC[0][0]),
        *(
            Rate("sec_fee", Base.NOTIONAL, rate * 10, _SELL, since=since, until=until)
            for (since, rate), until in zip(_SEC, sec_ends, strict=True)
        ),
        *(
            Rate("finra_taf", Base.UNITS, rate * _CENT // 10_000, _SELL, maximum=cap, since=since, until=until)
            for (since, rate, cap), until in zip(_TAF, taf_ends, strict=True)
        ),
    )


PLUGIN = Schedule(
    name="us_equity",
    title="US equity, 0.005 dollars a share",
    currency="USD",
    heads={"commission": 1, "sec_fee": 1, "finra_taf": 1},
    rates=_rates(),
    sources=(
        "SEC fee-rate advisories under Section 31 of the Securities Exchange Act, with FINRA's information notices",
        "FINRA By-Laws, Schedule A, section 1: trading activity fee; Regulatory Notice 11-27 for July 2011",
        "Interactive Brokers, fixed pricing of US stocks: 0.005 dollars a share, minimum 1 dollar, maximum 1 %",
    ),
)
