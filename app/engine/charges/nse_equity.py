"""Indian cash equity on NSE with Zerodha's brokerage, delivery and intraday, in paise. From 1 December 2015.

On that day Zerodha's brokerage on delivery ended; what it was before is not established. The exchange charge was by
slabs of the member's turnover until October 2024: the first slab is taken, which brokers charged their clients.

The depository's fee on a delivery sale (15.34 rupees per ISIN and day) is on the ledger, not on the contract note, and
not here.
"""

from datetime import date

from app.engine.charges._india import COMMON_SOURCES, CRORE, Steps, equity_rates, heads
from app.engine.schedule import Schedule

EXCHANGE: Steps = (  # transaction charge and IPFT
    (date(2015, 12, 1), 32_501),  # 325 + 0.01
    (date(2021, 1, 1), 34_501),  # 345 + 0.01
    (date(2023, 4, 1), 335 * CRORE),  # 325 + 10
    (date(2024, 4, 1), 332 * CRORE),  # 322 + 10; the cut of 1 % from memory
    (date(2024, 10, 1), 307 * CRORE),  # 297 + 10; since March 2026 306.99 + 0.01
)

PLUGIN = Schedule(
    name="nse_equity",
    title="NSE equity, Zerodha's brokerage",
    currency="INR",
    heads=heads("stt"),
    rates=equity_rates(EXCHANGE, start=date(2015, 12, 1)),
    sources=(
        "NSE/FA/73061 (1 March 2026): transaction charges 306.99 and IPFT 0.01 rupees per crore and side",
        "NSE notices of September 2024 (press): 2.97 a lakh; before, a cut of 1 % in April 2024 from memory",
        "NSE's release of 24 March 2023: rise of 6 % of January 2021 undone in April 2023, IPFT 0.01 to 10 a crore",
        "Zerodha's charge lists of 2020 and 2021: 0.00325 % and 0.00345 %; before 2020 the first, from memory",
        "Finance Act 2012 (delivery 0.1 %) and 2026, NSE FATAX73524: tax on equity unchanged at 0.1 % and 0.025 %",
        "Zerodha: delivery free since 1 December 2015 (announced the day before)",
        *COMMON_SOURCES,
    ),
)
