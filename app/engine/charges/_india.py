"""Decides what Indian schedules have in common: their heads, how each is rounded, and the rows that never differ.

Transaction tax and stamp duty are rounded to whole rupees per contract note, the other heads to the paisa; GST is 18 %
of brokerage, exchange charge and SEBI fee before they are rounded.
"""

from datetime import date

from app.engine.schedule import BOTH, Base, Rate
from app.kernel.orders import Product, Side

RUPEE = 100
BUY, SELL = (Side.BUY,), (Side.SELL,)
INTRADAY, DELIVERY = (Product.INTRADAY,), (Product.DELIVERY,)
EXCHANGE_SINCE = date(2024, 10, 1)
"""The exchanges' present charges hold since this date."""
TAX_SINCE = date(2026, 4, 1)
"""Finance Act 2026: the present securities transaction tax on futures and options."""


def heads(tax: str | None) -> dict[str, int]:
    """Heads in contract-note order with their rounding units; `tax`: `stt`, `ctt`, or None where there is none."""
    taxes = {} if tax is None else {tax: RUPEE}
    return {"brokerage": 1, **taxes, "exchange": 1, "sebi": 1, "stamp": RUPEE, "gst": 1}


def capped_brokerage(since: date) -> Rate:
    """Zerodha on futures: 0.03 % of the value, at most 20 rupees, per executed order."""
    return Rate("brokerage", Base.NOTIONAL, 300_000, maximum=20 * RUPEE, since=since)


def flat_brokerage(since: date) -> Rate:
    """Zerodha on options: 20 rupees per executed order."""
    return Rate("brokerage", Base.FLAT, 20 * RUPEE * 10**9, since=since)


def levies(*, exchange: int, stamp: int, since: date) -> tuple[Rate, ...]:
    """Exchange charge (with the investor protection fund) and stamp duty on buys at `RATE`, SEBI's fee, GST."""
    return (
        Rate("exchange", Base.NOTIONAL, exchange, since=since),
        Rate("sebi", Base.NOTIONAL, 1_000, since=since),
        Rate("stamp", Base.NOTIONAL, stamp, BUY, since=since),
        Rate("gst", Base.HEADS, 180_000_000, of=("brokerage", "exchange", "sebi"), since=since),
    )


def equity_rates(exchange: int) -> tuple[Rate, ...]:
    """Cash equity with Zerodha's brokerage (none on delivery), delivery and intraday; `exchange` at `RATE`.

    The tax on equity did not change in 2026, and no other head is younger than the exchange charge.
    """
    since = EXCHANGE_SINCE
    return (
        Rate("brokerage", Base.NOTIONAL, 300_000, products=INTRADAY, maximum=20 * RUPEE, since=since),
        Rate("stt", Base.NOTIONAL, 1_000_000, BOTH, DELIVERY, since=since),
        Rate("stt", Base.NOTIONAL, 250_000, SELL, INTRADAY, since=since),
        Rate("exchange", Base.NOTIONAL, exchange, since=since),
        Rate("sebi", Base.NOTIONAL, 1_000, since=since),
        Rate("stamp", Base.NOTIONAL, 150_000, BUY, DELIVERY, since=since),
        Rate("stamp", Base.NOTIONAL, 30_000, BUY, INTRADAY, since=since),
        Rate("gst", Base.HEADS, 180_000_000, of=("brokerage", "exchange", "sebi"), since=since),
    )
