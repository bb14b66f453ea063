"""Indian cash equity on BSE with Zerodha's brokerage, delivery and intraday, in paise. From 1 December 2022.

For the groups A and B and what is listed on another exchange too: a schedule does not know an instrument's group.
`bse_equity_x` has the groups X, XT and Z. From August 2018 to November 2022 the charge was by slabs that changed on
days that are not established, before that a rupee or so per trade, and waived for some shares.

The depository's fee on a delivery sale (15.34 rupees per ISIN and day) is on the ledger, not on the contract note, and
not here.
"""

from datetime import date

from app.engine.charges._india import COMMON_SOURCES, CRORE, equity_rates, heads
from app.engine.schedule import Schedule

SINCE = date(2022, 12, 1)

PLUGIN = Schedule(
    name="bse_equity",
    title="BSE equity, Zerodha's brokerage",
    currency="INR",
    heads=heads("stt"),
    rates=equity_rates(((SINCE, 375 * CRORE),), start=SINCE),
    sources=(
        "Zerodha's charge list: BSE 375 rupees per crore and side, flat, from 1 December 2022",
        "BSE notices of 27 September 2024, as reported by the press: not changed; not verified again since",
        "Finance Act 2026, NSE FATAX73524: securities transaction tax on equity unchanged at 0.1 % and 0.025 %",
        *COMMON_SOURCES,
    ),
)
