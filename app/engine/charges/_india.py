"""Decides what Indian schedules have in common: their heads, how each is rounded, and the dated rates that all share.

Transaction tax and stamp duty are rounded to whole rupees per contract note, the other heads to the paisa; the tax on
services is worked out before the others are rounded. Its head is `gst`, also before July 2017, when it was service tax
and its cesses. Stamp duty before July 2020 was each state's own: Maharashtra's is taken, for every client.

What could not be established is left out, and a schedule begins where all of its heads are known; what rests on one
source or on memory says so below or in the schedule's file. Not in any schedule: the doubled brokerage of an account in
debit, and the charge of a clearing member, which Zerodha passed on for derivatives until it cleared by itself, no later
than February 2020. (In February 2014 its founder put exchange and clearing together at 0.0039 % of futures and 0.079 %
of premiums; over which sides and until when is not established. Derivatives before 2020 are too cheap here by that.)
"""

from collections.abc import Sequence
from datetime import date

from app.engine.schedule import ALL, BOTH, Base, Rate
from app.kernel.orders import Product, Side

RUPEE = 100
CRORE = 100
"""One rupee per crore, at `RATE`."""
PERCENT = 10_000_000
BUY, SELL = (Side.BUY,), (Side.SELL,)
INTRADAY, DELIVERY = (Product.INTRADAY,), (Product.DELIVERY,)
Steps = Sequence[tuple[date, int]]
"""(first day, rate at `RATE`), each until the next begins."""

UNIFORM_STAMP = date(2020, 7, 1)
"""Indian Stamp Act as amended by the Finance Act 2019: one duty for all states, the buyer's alone."""

BROKERAGE: Steps = (
    (date(2013, 6, 1), PERCENT // 100),
    (date(2020, 4, 1), 3 * PERCENT // 100),  # in April 2020; the day is not established, and the first is taken
)
"""Zerodha's share of the value, at most 20 rupees an order. It binds only below 200,000 rupees an order."""
SEBI: Steps = (
    (date(2013, 6, 1), 20 * CRORE),
    (date(2017, 4, 1), 15 * CRORE),
    (date(2019, 4, 1), 10 * CRORE),
    (date(2020, 6, 1), 5 * CRORE),
    (date(2021, 4, 1), 10 * CRORE),
)
FUTURES_TAX: Steps = (
    (date(2013, 6, 1), PERCENT // 100),
    (date(2023, 4, 1), PERCENT * 125 // 10_000),
    (date(2024, 10, 1), PERCENT * 2 // 100),
    (date(2026, 4, 1), PERCENT * 5 // 100),
)
OPTIONS_TAX: Steps = (
    (date(2013, 6, 1), PERCENT * 17 // 1_000),
    (date(2016, 6, 1), PERCENT * 5 // 100),
    (date(2023, 4, 1), PERCENT * 625 // 10_000),
    (date(2024, 10, 1), PERCENT // 10),
    (date(2026, 4, 1), PERCENT * 15 // 100),
)
_EXERCISE: Steps = ((date(2019, 9, 1), PERCENT * 125 // 1_000), (date(2026, 4, 1), PERCENT * 15 // 100))
_SERVICES: tuple[tuple[date, int, tuple[str, ...]], ...] = (
    (date(2013, 6, 1), PERCENT * 1_236 // 100, ("brokerage", "exchange")),
    (date(2015, 6, 1), PERCENT * 14, ("brokerage", "exchange")),
    (date(2015, 11, 15), PERCENT * 145 // 10, ("brokerage", "exchange")),
    (date(2016, 6, 1), PERCENT * 15, ("brokerage", "exchange")),
    (date(2017, 7, 1), PERCENT * 18, ("brokerage", "exchange")),
    (date(2022, 7, 18), PERCENT * 18, ("brokerage", "exchange", "sebi")),
)
"""First day, rate and the heads it is on. SEBI's fee was exempt until July 2022."""

COMMON_SOURCES = (
    "Service tax: 12.36 % Finance Act 2012; 14 % notified 19 May 2015; cesses by 21/2015-ST, Finance Act 2016",
    "GST: 18 % from 1 July 2017",
    "GST on SEBI's fee from 18 July 2022: BSE notices 20220830-5 and 20221031-4",
    "SEBI's fee: Payment of Fees (Amendment) Regulations of 2017 and 2019; halved by its release of 27 April 2020",
    "SEBI's fee before 2019: 15 rupees by the press of December 2018 alone, 20 rupees before April 2017 from memory",
    "Stamp duty: Zerodha's bulletin of 1 July 2020; before, tables of Samco, SAS Online, TradingBells",
    "Stamp duty before July 2020: that it was rounded to the rupee, as now, is assumed",
    "Zerodha: 0.01 % in its charge list of 7 February 2020, 0.03 % by its letter of April 2020 (TradingQ&A 74161)",
)


def heads(tax: str | None) -> dict[str, int]:
    """Heads in contract-note order with their rounding units; `tax`: `stt`, `ctt`, or None where there is none."""
    taxes = {} if tax is None else {tax: RUPEE}
    return {"brokerage": 1, **taxes, "exchange": 1, "sebi": 1, "stamp": RUPEE, "gst": 1}


def dated(
    head: str,
    steps: Steps,
    *,
    start: date,
    sides: tuple[Side, ...] = BOTH,
    products: tuple[Product, ...] = ALL,
    maximum: int | None = None,
    exercise: bool = False,
) -> tuple[Rate, ...]:
    """One row of the notional per step, from `start` on."""
    return tuple(
        Rate(
            head, Base.NOTIONAL, rate, sides, products,
            maximum=maximum, since=max(since, start), until=until, exercise=exercise,
        )
        for (since, rate), until in zip(steps, _ends([since for since, _ in steps]), strict=True)
        if until > start
    )  # fmt: skip


def capped_brokerage(start: date, products: tuple[Product, ...] = ALL) -> tuple[Rate, ...]:
    """Zerodha on futures and intraday equity: a share of the value, at most 20 rupees, per executed order."""
    return dated("brokerage", BROKERAGE, start=start, products=products, maximum=20 * RUPEE)


def flat_brokerage(start: date) -> tuple[Rate, ...]:
    """Zerodha on options: 20 rupees per executed order."""
    return (Rate("brokerage", Base.FLAT, 20 * RUPEE * 10**9, since=start),)


def option_tax(start: date) -> tuple[Rate, ...]:
    """Securities transaction tax on sales of options, and on exercised ones: of their worth, the buyer's."""
    exercised = dated("stt", _EXERCISE, start=start, exercise=True)
    return (*dated("stt", OPTIONS_TAX, start=start, sides=SELL), *exercised)


def levies(*, exchange: Steps, stamp: int, start: date) -> tuple[Rate, ...]:
    """Exchange charge (with the investor protection fund), SEBI's fee, stamp duty and the tax on services.

    `stamp`: the uniform duty on buys, at `RATE`; before it, 0.002 % of both sides.
    """
    return (
        *dated("exchange", exchange, start=start),
        *dated("sebi", SEBI, start=start),
        *_stamp(stamp, before=2 * PERCENT // 1_000, start=start, products=ALL),
        *services(start),
    )


def equity_rates(exchange: Steps, *, start: date) -> tuple[Rate, ...]:
    """Cash equity with Zerodha's brokerage (none on delivery), delivery and intraday; its tax is that of July 2012."""
    return (
        *capped_brokerage(start, INTRADAY),
        Rate("stt", Base.NOTIONAL, PERCENT // 10, BOTH, DELIVERY, since=start),
        Rate("stt", Base.NOTIONAL, PERCENT * 25 // 1_000, SELL, INTRADAY, since=start),
        *dated("exchange", exchange, start=start),
        *dated("sebi", SEBI, start=start),
        *_stamp(PERCENT * 15 // 1_000, before=PERCENT // 100, start=start, products=DELIVERY),
        *_stamp(PERCENT * 3 // 1_000, before=2 * PERCENT // 1_000, start=start, products=INTRADAY),
        *services(start),
    )


def services(start: date) -> tuple[Rate, ...]:
    """The tax on services: GST, and service tax before."""
    return tuple(
        Rate("gst", Base.HEADS, rate, of=of, since=max(since, start), until=until)
        for (since, rate, of), until in zip(_SERVICES, _ends([row[0] for row in _SERVICES]), strict=True)
        if until > start
    )


def _stamp(rate: int, *, before: int, start: date, products: tuple[Product, ...]) -> tuple[Rate, ...]:
    old = Rate("stamp", Base.NOTIONAL, before, BOTH, products, since=start, until=UNIFORM_STAMP)
    new = Rate("stamp", Base.NOTIONAL, rate, BUY, products, since=max(start, UNIFORM_STAMP))
    return (old, new) if start < UNIFORM_STAMP else (new,)


def _ends(firsts: list[date]) -> list[date]:
    return [*firsts[1:], date.max]
