"""Decides what a statement of account says: what there was, every movement, what there is, and what is held.

By trade date, in market time, for days of the market's own time zone. The movements are proven: opening plus movements
is the closing, which is summed from the ledger's entries by itself, in one snapshot.
"""

import json
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import text

from app.custody.accounts.service import get_account, get_client
from app.infra.database import Tx
from app.kernel.errors import DomainError, Kind, invalid
from app.kernel.money import currency_exponent, format_scaled, format_trimmed
from app.market.instruments.service import InstrumentView, get_instrument
from app.platform.tenancy.service import get_tenant

MOST_DAYS = 366
MOST_MOVEMENTS = 5_000
ZONES = {"INR": "Asia/Kolkata", "USD": "America/New_York"}
_READ = text(
    "SELECT portfolio_statement(cast(:account AS uuid), cast(:start AS timestamptz), cast(:end AS timestamptz), "
    "cast(:last AS date), :most)"
)
_NAMES = {
    "funding": "Virtual money",
    "deposit": "Deposit",
    "withdrawal": "Withdrawal",
    "transfer": "Transfer",
    "charge": "Charge",
    "dividend": "Dividend",
    "split_cash": "Cash for the fraction of a split",
    "reversal": "Reversal",
    "adjustment": "Adjustment",
}


@dataclass(frozen=True, slots=True)
class Movement:
    """One ledger transaction, in minor units of cash by trade date; `balance` is what there was after it."""

    id: UUID
    at: datetime
    kind: str
    description: str
    amount: int
    balance: int


@dataclass(frozen=True, slots=True)
class Holding:
    """Units of an instrument at the end: settled, and traded but not yet settled, at its scale."""

    instrument: InstrumentView
    settled: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Statement:
    """`closing` is by trade date; `settled` is what of it was cash at the end of the last day."""

    broker: str
    account_id: UUID
    account_name: str
    client_name: str | None
    client_ref: str | None
    test: bool
    currency: str
    zone: str
    first: date
    last: date
    made_at: datetime
    opening: int
    closing: int
    settled: int
    movements: list[Movement]
    holdings: list[Holding]


async def statement_of(tx: Tx, account_id: UUID, *, first: date, last: date, now: datetime) -> Statement:
    """From the beginning of `first` to the end of `last`.

    Raises `account_not_found`, `invalid_period`, `period_too_long`, `statement_too_long`, `statement_unproven`.
    """
    account = await get_account(tx, account_id)
    _check_period(first, last)
    zone = ZoneInfo(ZONES.get(account.currency, "UTC"))
    start, end = (datetime.combine(day, time(), zone) for day in (first, last + timedelta(days=1)))
    asked = {"account": account_id, "start": start, "end": end, "last": last, "most": MOST_MOVEMENTS}
    found = (await tx.execute(_READ, asked)).scalar_one()
    read = json.loads(found) if isinstance(found, str) else found
    if read["movements"] is None:
        raise invalid(
            "statement_too_long",
            f"The period has more than {MOST_MOVEMENTS} movements: ask for a shorter one.",
            param="from",
        )
    units = await _instruments(tx, read, now)
    movements = _movements(read, units, account.currency)
    _prove(read, movements)
    client = None if account.client_id is None else await get_client(tx, account.client_id)
    return Statement(
        broker=(await get_tenant(tx)).name,
        account_id=account_id,
        account_name=account.name,
        client_name=None if client is None else client.name,
        client_ref=None if client is None else client.external_ref,
        test=account.mode == "test",
        currency=account.currency,
        zone=zone.key,
        first=first,
        last=last,
        made_at=now,
        opening=read["opening"],
        closing=read["closing"],
        settled=read["settled"],
        movements=movements,
        holdings=_holdings(read, units),
    )


def _check_period(first: date, last: date) -> None:
    if last < first:
        raise invalid("invalid_period", "The period ends before it begins: swap from and to.", param="to")
    if (last - first).days >= MOST_DAYS:
        raise invalid("period_too_long", f"A statement covers at most {MOST_DAYS} days.", param="from")


async def _instruments(tx: Tx, read: dict[str, Any], now: datetime) -> dict[str, InstrumentView]:
    named = {one["details"].get("instrument_id") for one in read["movements"]} | {*read["securities"], *read["waiting"]}
    return {one: await get_instrument(tx, UUID(one), now=now) for one in sorted(named - {None})}


def _movements(read: dict[str, Any], units: dict[str, InstrumentView], currency: str) -> list[Movement]:
    balance, movements = read["opening"], []
    for one in read["movements"]:
        balance += one["amount"]
        said = _description(one["kind"], one["details"], units, currency)
        at = datetime.fromisoformat(one["at"])
        movements.append(Movement(UUID(one["id"]), at, one["kind"], said, one["amount"], balance))
    return movements


def _description(kind: str, details: dict[str, Any], units: dict[str, InstrumentView], currency: str) -> str:
    if kind != "fill":
        reason = details.get("reason") or details.get("reference")
        name = _NAMES.get(kind, kind)
        return f"{name}: {reason}" if reason else name
    if "instrument_id" not in details:
        return "Trade"  # recorded before fills said more of themselves
    instrument = units[details["instrument_id"]]
    verb = "Bought" if details["side"] == "buy" else "Sold"
    quantity = format_trimmed(details["quantity"], instrument.qty_exp)
    price = format_trimmed(details["price"], instrument.price_exp)
    charges = format_scaled(details["charges"], currency_exponent(currency))
    return f"{verb} {quantity} {instrument.symbol} at {price}, charges {charges}"


def _holdings(read: dict[str, Any], units: dict[str, InstrumentView]) -> list[Holding]:
    ids = {*read["securities"], *read["waiting"]}
    held = [Holding(units[one], read["securities"].get(one, 0), read["waiting"].get(one, 0)) for one in ids]
    return sorted(held, key=lambda one: one.instrument.symbol)


def _prove(read: dict[str, Any], movements: list[Movement]) -> None:
    if read["opening"] + sum(one.amount for one in movements) != read["closing"]:
        raise DomainError(
            "statement_unproven",
            Kind.UNAVAILABLE,
            "The movements do not add up to the ledger's balance: no statement is made. Tell the compliance officer.",
        )
