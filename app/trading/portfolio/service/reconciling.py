"""Decides what becomes of a file from outside: the books as they stood when its day ended, compared with it at once.

Of each figure that differs there is one break, as old as the difference; what agrees now is closed. Files of a broker
and of the depository are whole; a bank's is compared, and closes breaks, in the currencies that it mentions. The same
file again changes nothing. A balance of an earlier day than the last one compared says nothing about today, and is
refused.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Any, cast
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlmodel import col, select

from app.custody.ledger.service import Finding, reconcile_breaks
from app.infra.database import Tx
from app.kernel.errors import conflict, invalid, not_found
from app.kernel.ids import encode_id, uuid7
from app.kernel.orders import Mode, Side
from app.market.instruments.service import papers_of
from app.trading.portfolio.domain.reconciling import (
    Figures,
    Known,
    Line,
    Paper,
    Source,
    Trade,
    bank_figures,
    bank_place,
    broker_trades,
    depository_figures,
    differences,
    isins_of,
    read_lines,
    trade_figures,
    units_place,
)
from app.trading.portfolio.service.statements import ZONES
from app.trading.portfolio.tables import Reconciliation
from app.web.cursors import Cursor, Slice

RECONCILIATION = "rec"
_TURN = text("SELECT pg_advisory_xact_lock(hashtextextended(cast(:tenant AS text) || :source || :mode, 0))")
_ACCOUNTS = text("SELECT id FROM accounts_in_mode(:mode)")
_BANK = text("SELECT currency, balance FROM ledger_bank_at(:mode, cast(:ends AS jsonb))")
_UNITS = text("SELECT account_id, instrument_id, quantity FROM ledger_securities_at(:mode, cast(:ends AS jsonb))")
_TRADES = text("SELECT account_id, instrument_id, side, quantity, price FROM portfolio_trades_on(:mode, :day)")


@dataclass(frozen=True, slots=True)
class _File:
    source: Source
    mode: str
    day: date
    lines: Sequence[Line]

    @property
    def scope(self) -> str:
        """What all references of its breaks begin with: a day's trades stand for themselves, balances go on."""
        return f"{self.mode}:{self.day}:" if self.source is Source.BROKER else f"{self.mode}:"


async def reconcile(tx: Tx, source: Source, csv: str, *, as_of: date, mode: Mode, now: datetime) -> Reconciliation:
    """Compare a file with the books of the accounts of `mode`, as they stood at the end of the day `as_of`.

    Raises `day_not_over`, `later_day_reconciled` and `invalid_csv`; then nothing is written.
    """
    await tx.execute(_TURN, {"tenant": str(tx.tenant_id), "source": source.value, "mode": mode.value})
    digest = hashlib.sha256(csv.encode()).hexdigest()
    if (known := await _known(tx, source, mode, as_of, digest)) is not None:
        return known
    if as_of > now.date():
        raise invalid("day_not_over", "as_of is a day that has begun; books of the future are empty.", param="as_of")
    await _refuse_stale(tx, source, mode, as_of)
    file = _File(source, mode.value, as_of, read_lines(source, csv))
    books, told = await _sides(tx, file)
    found = differences(books, told)
    made = uuid7()
    opened, closed = await reconcile_breaks(
        tx,
        [Finding(at.reference, what, at.currency, at.account_id, at.instrument_id) for at, what in found.items()],
        source=f"{source}_file",
        scope=file.scope,
        compared={place.reference for place in {*books, *told}} if source is Source.BANK else None,
        reason=f"It agrees in {encode_id(RECONCILIATION, made)}.",
        now=now,
    )
    row = Reconciliation(
        tenant_id=tx.tenant_id,
        id=made,
        source=source.value,
        mode=mode.value,
        as_of=as_of,
        digest=digest,
        lines=len(file.lines),
        compared=len({*books, *told}),
        differences=len(found),
        opened=opened,
        closed=closed,
        made_at=now,
        made_by=tx.principal.user_id if tx.principal else None,
    )
    tx.add(row)
    await tx.flush()
    return row


async def list_reconciliations(tx: Tx, cursor: Cursor) -> Slice[Reconciliation]:
    """Newest first."""
    statement = select(Reconciliation).where(col(Reconciliation.tenant_id) == tx.tenant_id)
    rows = (await tx.scalars(cursor.apply(cast(Any, statement), col(Reconciliation.id)))).all()
    return cursor.cut(rows)


async def get_reconciliation(tx: Tx, reconciliation_id: UUID) -> Reconciliation:
    """Raises `reconciliation_not_found`."""
    row = await tx.get(Reconciliation, reconciliation_id)
    if row is None:
        raise not_found("reconciliation", encode_id(RECONCILIATION, reconciliation_id))
    return row


async def _known(tx: Tx, source: Source, mode: Mode, day: date, digest: str) -> Reconciliation | None:
    statement = select(Reconciliation).where(
        col(Reconciliation.tenant_id) == tx.tenant_id,
        col(Reconciliation.source) == source.value,
        col(Reconciliation.mode) == mode.value,
        col(Reconciliation.as_of) == day,
        col(Reconciliation.digest) == digest,
    )
    found: Reconciliation | None = (await tx.scalars(statement)).one_or_none()
    return found


async def _refuse_stale(tx: Tx, source: Source, mode: Mode, day: date) -> None:
    if source is Source.BROKER:
        return
    statement = select(Reconciliation).where(
        col(Reconciliation.tenant_id) == tx.tenant_id,
        col(Reconciliation.source) == source.value,
        col(Reconciliation.mode) == mode.value,
        col(Reconciliation.as_of) > day,
    )
    later = (await tx.scalars(statement.order_by(col(Reconciliation.as_of).desc()).limit(1))).one_or_none()
    if later is not None:
        message = f"The {source} of {later.as_of} has been compared: send that day again, or a later one."
        raise conflict("later_day_reconciled", message, param="as_of")


async def _sides(tx: Tx, file: _File) -> tuple[Figures, Figures]:
    """What the books say, and what the file does."""
    if file.source is Source.BANK:
        told = bank_figures(file.lines, mode=file.mode, day=file.day)
        rows = (await tx.execute(_BANK, {"mode": file.mode, "ends": _ends(file.day)})).all()
        held = {bank_place(file.mode, row.currency): row.balance for row in rows}
        return {place: held.get(place, 0) for place in told}, told  # another bank has what this one does not mention
    if file.source is Source.DEPOSITORY:
        rows = (await tx.execute(_UNITS, {"mode": file.mode, "ends": _ends(file.day)})).all()
        known, by_id = await _known_names(tx, file, [row.instrument_id for row in rows])
        units: dict[Any, int] = {}
        for row in rows:
            place = units_place(file.mode, row.account_id, by_id[row.instrument_id])
            units[place] = units.get(place, 0) + row.quantity
        return units, depository_figures(file.lines, known, mode=file.mode)
    rows = (await tx.execute(_TRADES, {"mode": file.mode, "day": file.day})).all()
    known, by_id = await _known_names(tx, file, [row.instrument_id for row in rows])
    told_trades = broker_trades(file.lines, known)
    ours = [
        Trade(row.account_id, by_id[row.instrument_id].isin, Side(row.side), row.quantity, row.quantity * row.price)
        for row in rows
    ]
    books, told = (trade_figures(trades, known.papers, mode=file.mode, day=file.day) for trades in (ours, told_trades))
    return books, told


async def _known_names(tx: Tx, file: _File, held: Sequence[UUID]) -> tuple[Known, dict[UUID, Paper]]:
    """What the file may name, and the paper of each instrument. An ISIN is one paper, whichever venues trade it."""
    rows = await papers_of(tx, sorted(isins_of(file.lines)), held)
    papers: dict[str, Paper] = {}
    for row in rows:
        paper = Paper(row["isin"], row["id"], row["currency"], row["price_exp"], row["qty_exp"])
        first = papers.setdefault(paper.isin, paper)
        if replace(paper, instrument_id=first.instrument_id) != first:
            message = f"{paper.isin} trades in several currencies or scales; its figures cannot be told apart."
            raise conflict("isin_ambiguous", message, param="csv")
    accounts = {row.id for row in (await tx.execute(_ACCOUNTS, {"mode": file.mode})).all()}
    return Known(papers, accounts), {row["id"]: papers[row["isin"]] for row in rows}


def _ends(day: date) -> str:
    """When the day ends, by currency, as `ledger_end_of` reads it."""
    zones = {**ZONES, "": "UTC"}
    return json.dumps(
        {
            currency: datetime.combine(day + timedelta(days=1), time(), ZoneInfo(zone)).isoformat()
            for currency, zone in zones.items()
        }
    )
