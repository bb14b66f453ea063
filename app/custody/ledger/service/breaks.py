"""Decides what happens to a difference: it is opened once, somebody takes it, and it ends with a reason.

What waits in suspense for it may become a client's; when that is undone, the break is open again.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.custody.ledger import repository
from app.custody.ledger.domain import BreakKind, Difference, TransactionKind, allocation_entries
from app.custody.ledger.service.posting import post
from app.custody.ledger.tables import LedgerBreak
from app.infra.database import Tx
from app.kernel.errors import DomainError, Kind, conflict, not_found
from app.kernel.ids import encode_id, uuid7
from app.kernel.money import Money, currency_exponent, format_scaled
from app.web.cursors import Cursor, Slice

BREAK = "brk"


async def open_break(
    tx: Tx,
    difference: Difference,
    *,
    source: str,
    reference: str,
    currency: str,
    account_id: UUID | None,
    now: datetime,
    instrument_id: UUID | None = None,
    suspense: int = 0,
) -> bool:
    """Note a difference, once for a source, reference and kind. `suspense`: what of it was posted there, in minor
    units. False when it was noted before."""
    break_id = uuid7()
    opened = await repository.insert_break(
        tx,
        {
            "tenant_id": tx.tenant_id,
            "id": break_id,
            "kind": difference.kind.value,
            "source": source,
            "reference": reference,
            "account_id": account_id,
            "instrument_id": instrument_id,
            "currency": currency,
            "expected_minor": difference.expected,
            "actual_minor": difference.actual,
            "suspense_minor": suspense,
            "status": "open",
            "opened_at": now,
        },
    )
    if opened:
        _tell(tx, break_id, difference, source=source, currency=currency, account_id=account_id)
    return opened


def _tell(
    tx: Tx, break_id: UUID, difference: Difference, *, source: str, currency: str, account_id: UUID | None
) -> None:
    exponent = break_exponent(currency)
    shown = {
        "kind": difference.kind.value,
        "source": source,
        "expected": format_scaled(difference.expected, exponent),
        "actual": format_scaled(difference.actual, exponent),
        "currency": currency,
    }
    tx.emit("break.opened", break_id, shown, account_id=account_id)


def break_exponent(currency: str) -> int:
    """Decimal places of a break's figures: none where units of an instrument are counted."""
    return 0 if currency == "XXX" else currency_exponent(currency)


@dataclass(frozen=True, slots=True)
class Finding:
    """A difference, and of what: `reference` names the place in every file of its source alike."""

    reference: str
    difference: Difference
    currency: str
    account_id: UUID | None
    instrument_id: UUID | None


async def reconcile_breaks(
    tx: Tx,
    findings: Sequence[Finding],
    *,
    source: str,
    scope: str,
    compared: Collection[str] | None = None,
    reason: str,
    now: datetime,
) -> tuple[int, int]:
    """Make the breaks of `source` whose reference begins with `scope` what was found now: one that is new opens, one
    that was resolved and differs opens again, one that agrees is resolved for `reason`; one that is open stays as old
    as it is. `compared`: the references that were looked at, when these are not all in scope; others stay as they are.
    Returns how many opened and how many closed.
    """
    known = {row.reference: row for row in await repository.lock_breaks(tx, source, scope)}
    opened = closed = 0
    for one in findings:
        row = known.pop(one.reference, None)
        if row is None:
            opened += await open_break(
                tx,
                one.difference,
                source=source,
                reference=one.reference,
                currency=one.currency,
                account_id=one.account_id,
                instrument_id=one.instrument_id,
                now=now,
            )
            continue
        row.expected_minor, row.actual_minor = one.difference.expected, one.difference.actual
        if row.status != "open":
            _reopen(tx, row, one.difference, now)
            opened += 1
    for row in known.values():
        if row.status == "open" and (compared is None or row.reference in compared):
            row.status, row.reason, row.resolved_at = "resolved", reason, now
            tx.emit("break.resolved", row.id, {"reason": reason}, account_id=row.account_id)
            closed += 1
    await tx.flush()
    return opened, closed


def _reopen(tx: Tx, row: LedgerBreak, difference: Difference, now: datetime) -> None:
    row.status, row.opened_at = "open", now
    row.owner_id = row.reason = row.resolved_at = row.resolved_by = None
    _tell(tx, row.id, difference, source=row.source, currency=row.currency, account_id=row.account_id)


async def list_breaks(tx: Tx, cursor: Cursor, *, status: str | None) -> Slice[LedgerBreak]:
    """Newest first."""
    return cursor.cut(await repository.breaks(tx, cursor, status))


async def take_break(tx: Tx, break_id: UUID) -> LedgerBreak:
    """The caller becomes its owner. Raises `break_not_found`, `break_resolved`, `break_needs_person`."""
    row = await _open(tx, break_id)
    row.owner_id = _person(tx)
    await tx.flush()
    return row


async def resolve_break(tx: Tx, break_id: UUID, *, reason: str, account_id: UUID | None, now: datetime) -> LedgerBreak:
    """End it with a reason. With `account_id`, what came and waits in suspense becomes that client's.

    Raises as `take_break`, `nothing_in_suspense`, and `suspense_reversed` and what posting raises; after these two the
    transaction must be left.
    """
    row = await _open(tx, break_id)
    who = _person(tx)
    if account_id is not None:
        if row.suspense_minor <= 0:
            raise conflict(
                "nothing_in_suspense",
                "Nothing waits in suspense for this break: leave account_id out.",
                param="account_id",
            )
        await _allocate(tx, row, account_id, reason=reason, now=now)
    row.status, row.reason, row.resolved_at, row.resolved_by = "resolved", reason, now, who
    tx.emit("break.resolved", row.id, {"reason": reason}, account_id=row.account_id)
    await tx.flush()
    return row


async def _allocate(tx: Tx, row: LedgerBreak, account_id: UUID, *, reason: str, now: datetime) -> None:
    key, turn = f"break:{row.id}", 1
    while await repository.by_key(tx, key) is not None:  # an allocation that was undone
        turn += 1
        key = f"break:{row.id}:{turn}"
    legs = allocation_entries(account_id, Money(row.suspense_minor, row.currency))
    await post(tx, TransactionKind.TRANSFER, legs, idempotency_key=key, effective_at=now, details={"reason": reason})
    # Looked at only now: whoever reverses what came holds suspense until he has committed.
    came = await repository.by_key(tx, f"suspense:{row.source}:{row.reference}")
    if came is not None and await repository.by_key(tx, f"reversal:{came.id}") is not None:
        raise conflict(
            "suspense_reversed",
            "What came for this break was reversed, so nothing of it waits in suspense: resolve without account_id.",
            param="account_id",
        )


async def lock_allocated(tx: Tx, idempotency_key: str) -> LedgerBreak | None:
    """The break whose money the transaction with this key gave to a client, locked; None when it allocated nothing."""
    prefix, _, rest = idempotency_key.partition(":")
    return await repository.lock_break(tx, UUID(rest.partition(":")[0])) if prefix == "break" else None


async def reopen_allocated(tx: Tx, row: LedgerBreak, now: datetime) -> None:
    """Its allocation was undone: what came waits in suspense, and for somebody to say whose it is."""
    if row.status != "open":
        _reopen(tx, row, Difference(BreakKind(row.kind), row.expected_minor, row.actual_minor), now)
        await tx.flush()


def _person(tx: Tx) -> UUID:
    if tx.principal is None or tx.principal.user_id is None:
        raise DomainError(
            "break_needs_person", Kind.FORBIDDEN, "A person looks into a break: log in, or use a key that you made."
        )
    return tx.principal.user_id


async def _open(tx: Tx, break_id: UUID) -> LedgerBreak:
    row = await repository.lock_break(tx, break_id)
    if row is None:
        raise not_found("break", encode_id(BREAK, break_id))
    if row.status != "open":
        raise conflict("break_resolved", "This break is resolved already.")
    return row
