"""Indian cash equity on BSE with Zerodha's brokerage, delivery and intraday, in paise.

Shares of the groups X, XT, Z and others pay the exchange far more than the charge here.

The depository's fee on a delivery sale (15.34 rupees per ISIN and day) is on the ledger, not on the contract note, and
not here.
"""

from app.engine.charges._india import equity_rates, heads
from app.engine.schedule import Schedule

PLUGIN = Schedule(
    name="bse_equity",
    title="BSE equity, Zerodha's brokerage",
    currency="INR",
    heads=heads("stt"),
    rates=equity_rates(37_500),
    sources=(
        "BSE notices of 27 September 2024, as reported by the press: 375 rupees per crore and side; not verified again",
        "Finance Act 2026, NSE FATAX73524: securities transaction tax on equity unchanged at 0.1 % and 0.025 %",
        "Zerodha support: what is the brokerage for equity; what are the various statutory charges",
    ),
)
