"""Cash equity of BSE's groups X, XT and Z (until 2017 XC, XD, XT, Z and ZP) with Zerodha's brokerage, in paise.

From 1 January 2016. The exchange takes 10,000 rupees a crore of them, whoever trades. A schedule does not know an
instrument's group: whoever trades one of these chooses it. The groups SS and ST (100,000 a crore) and M, MT, MS and TS
(275 a crore) have no schedule: since when is not established.
"""

from datetime import date

from app.engine.charges._india import COMMON_SOURCES, CRORE, equity_rates, heads
from app.engine.schedule import Schedule

SINCE = date(2016, 1, 1)

PLUGIN = Schedule(
    name="bse_equity_x",
    title="BSE equity of groups X, XT and Z, Zerodha's brokerage",
    currency="INR",
    heads=heads("stt"),
    rates=equity_rates(((SINCE, 10_000 * CRORE),), start=SINCE),
    sources=(
        "BSE notices 20151217-28 and 20151221-17: 10,000 rupees per crore from 1 January 2016; Zerodha's list of 2024",
        "Finance Act 2012 (delivery 0.1 %) and 2026, NSE FATAX73524: tax on equity unchanged at 0.1 % and 0.025 %",
        *COMMON_SOURCES,
    ),
)
