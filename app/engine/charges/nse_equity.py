"""Indian cash equity on NSE with Zerodha's brokerage, delivery and intraday, in paise.

The depository's fee on a delivery sale (15.34 rupees per ISIN and day) is on the ledger, not on the contract note, and
not here.
"""

from app.engine.charges._india import equity_rates, heads
from app.engine.schedule import Schedule

PLUGIN = Schedule(
    name="nse_equity",
    title="NSE equity, Zerodha's brokerage",
    currency="INR",
    heads=heads("stt"),
    rates=equity_rates(30_700),
    sources=(
        "NSE/FA/73061 (1 March 2026): transaction charges 306.99 and IPFT 0.01 rupees per crore and side",
        "Finance Act 2026, NSE FATAX73524: securities transaction tax on equity unchanged at 0.1 % and 0.025 %",
        "Zerodha support: what is the brokerage for equity; what are the various statutory charges",
    ),
)
