"""Decides what is posted when a provider says what became of a payment. Saying it twice posts once."""

from datetime import datetime
from uuid import UUID

from app.custody.funding import repository
from app.custody.funding.domain import Direction, Known, Meaning, News, Status, meaning_of
from app.custody.funding.tables import Payment
from app.custody.ledger.domain import BreakKind, Difference, TransactionKind, funding_entries, suspense_entries
from app.custody.ledger.service import open_break, pay_out_held, post, void_hold
from app.infra.database import Tx
from app.kernel.money import Money, currency_exponent, format_scaled


async def hear(tx: Tx, provider: str, payment_id: UUID | None, news: News, *, now: datetime) -> Meaning:
    """Act on news of the payment, or of money that nobody asked for (None, or an unknown id)."""
    row = None if payment_id is None else await repository.locked(tx, payment_id)
    if row is None:
        if not news.paid:
            return Meaning.NOTHING
        came = Difference(BreakKind.UNIDENTIFIED, expected=0, actual=news.amount.minor)
        await _suspend(tx, provider, news, news.amount.minor, came, None, now=now)
        return Meaning.SUSPEND
    direction = Direction(row.direction)
    amount = Money(row.amount_minor, row.currency)
    meaning = meaning_of(news, Known(direction, Status(row.status), amount, row.reference))
    match meaning:
        case Meaning.FAIL:
            await fail(tx, row, news.reason or "the provider gives no reason", now=now)
        case Meaning.COMPLETE:
            await _complete(tx, row, news, now=now)
        case Meaning.SUSPEND:
            await _not_as_asked(tx, row, news, now=now)
    await tx.flush()
    return meaning


async def fail(tx: Tx, row: Payment, reason: str, *, now: datetime) -> None:
    """It will not happen: what was held is available again."""
    if row.direction == Direction.WITHDRAWAL:
        await void_hold(tx, row.id)
    _end(tx, row, Status.FAILED, now, reason[:200])


async def _complete(tx: Tx, row: Payment, news: News, *, now: datetime) -> None:
    row.reference = news.reference
    key, details = f"{row.direction}:{row.id}", {"payment_id": str(row.id), "reference": news.reference}
    asked = Money(row.amount_minor, row.currency)
    if row.direction == Direction.DEPOSIT:
        legs = funding_entries(row.account_id, asked)
        await post(tx, TransactionKind.DEPOSIT, legs, idempotency_key=key, effective_at=now, details=details)
    else:
        paid = Money(min(news.amount.minor, row.amount_minor), row.currency)
        await pay_out_held(tx, row.id, row.account_id, paid, idempotency_key=key, effective_at=now, details=details)
        if news.amount != asked:
            more = min(row.amount_minor - news.amount.minor, 0)  # what left beyond what was asked is nobody's yet
            went = Difference(BreakKind.WRONG_AMOUNT, expected=-row.amount_minor, actual=-news.amount.minor)
            await _suspend(tx, row.provider, news, more, went, row.account_id, now=now)
    _end(tx, row, Status.COMPLETED, now, None)


async def _not_as_asked(tx: Tx, row: Payment, news: News, *, now: datetime) -> None:
    """Another amount than was asked for, or money for a payment that had ended."""
    sign = 1 if row.direction == Direction.DEPOSIT else -1
    ended = row.status in (Status.COMPLETED, Status.FAILED, Status.DISPUTED)
    kind, expected = (BreakKind.UNEXPECTED, 0) if ended else (BreakKind.WRONG_AMOUNT, sign * row.amount_minor)
    came = sign * news.amount.minor
    await _suspend(tx, row.provider, news, came, Difference(kind, expected, came), row.account_id, now=now)
    if not ended:
        row.reference = news.reference
        _end(tx, row, Status.DISPUTED, now, "another amount came than was asked for; it waits in suspense")


async def _suspend(
    tx: Tx, provider: str, news: News, minor: int, difference: Difference, account_id: UUID | None, *, now: datetime
) -> None:
    """Post what came (below zero: went) and is nobody's to suspense, and open the break that says so; once."""
    if minor:
        posted = TransactionKind.DEPOSIT if minor > 0 else TransactionKind.WITHDRAWAL
        await post(
            tx,
            posted,
            suspense_entries(Money(minor, news.amount.currency)),
            idempotency_key=f"suspense:{provider}:{news.reference}",
            effective_at=now,
            details={"reference": news.reference},
        )
    await open_break(
        tx,
        difference,
        source=provider,
        reference=news.reference,
        currency=news.amount.currency,
        account_id=account_id,
        suspense=minor,
        now=now,
    )


def _end(tx: Tx, row: Payment, status: Status, now: datetime, reason: str | None) -> None:
    row.status, row.ended_at, row.reason = status.value, now, reason
    amount = format_scaled(row.amount_minor, currency_exponent(row.currency))
    payload = {"amount": amount} | ({"reason": reason} if reason else {})
    if row.direction == Direction.DEPOSIT:
        tx.emit(f"deposit.{status.value}", row.id, payload, account_id=row.account_id)
    else:
        tx.emit(f"withdrawal.{status.value}", row.id, payload, account_id=row.account_id)
