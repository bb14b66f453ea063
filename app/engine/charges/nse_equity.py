"""Indian cash equity on NSE with Zerodha's brokerage, delivery and intraday, in paise.

Securities transaction tax and stamp duty are rounded to whole rupees per contract note, the other heads to the paisa;
GST is 18 % of brokerage, exchange charge and SEBI fee before they are rounded. The depository's fee on a delivery sale
(15.34 rupees per ISIN and day) is on the ledger, not on the contract note, and not here.
"""

from datetime import date

from app.engine.schedule import BOTH, Base, Rate, Schedule
from app.kernel.orders import Product, Side

RUPEE = 100
SINCE = date(2024, 10, 1)
"""Exchange charges of 307 per crore (IPFT included) hold since this date; the other heads are older and unchanged."""

_INTRADAY = (Product.INTRADAY,)
_DELIVERY = (Product.DELIVERY,)
_BUY = (Side.BUY,)
_SELL = (Side.SELL,)

PLUGIN = Schedule(
    name="nse_equity",
    title="NSE equity, Zerodha's brokerage",
    currency="INR",
    heads={"brokerage": 1, "stt": RUPEE, "exchange": 1, "sebi": 1, "stamp": RUPEE, "gst": 1},
    rates=(
        Rate("brokerage", Base.NOTIONAL, 300_000, products=_INTRADAY, maximum=20 * RUPEE, since=SINCE),
        Rate("stt", Base.NOTIONAL, 1_000_000, BOTH, _DELIVERY, since=SINCE),
        Rate("stt", Base.NOTIONAL, 250_000, _SELL, _INTRADAY, since=SINCE),
        Rate("exchange", Base.NOTIONAL, 30_700, since=SINCE),
        Rate("sebi", Base.NOTIONAL, 1_000, since=SINCE),
        Rate("stamp", Base.NOTIONAL, 150_000, _BUY, _DELIVERY, since=SINCE),
        Rate("stamp", Base.NOTIONAL, 30_000, _BUY, _INTRADAY, since=SINCE),
        Rate("gst", Base.HEADS, 180_000_000, of=("brokerage", "exchange", "sebi"), since=SINCE),
    ),
    sources=(
        "NSE/FA/73061 (1 March 2026): transaction charges 306.99 and IPFT 0.01 rupees per crore and side",
        "Finance Act 2026, NSE FATAX73524: securities transaction tax on equity unchanged at 0.1 % and 0.025 %",
        "Zerodha support: what is the brokerage for equity; what are the various statutory charges",
    ),
)
