"""Decides how a payment reaches its provider: written as sent first, told, and asked about until it has ended.

It is told again only while it says that it knows nothing of it: whoever wrote `sent` may have died before he told it.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from app.custody.funding import repository
from app.custody.funding.domain import FINAL, OVERDUE, News, Status
from app.custody.funding.ports import Instruction, PaymentProvider, Refused, Taken, Unknown
from app.custody.funding.service.asking import SEND
from app.custody.funding.service.hearing import fail, hear
from app.custody.ledger.domain import BreakKind, Difference
from app.custody.ledger.service import open_break
from app.infra.database import Tx
from app.infra.process import App
from app.infra.work.runner import Handler, Item, Retry
from app.kernel.money import Money

POLL_SECONDS = 5
AGAIN = timedelta(minutes=3)
"""So long after it was told, a provider that does not know the payment is told again: by then it knows what it took."""


def handlers(app: App, provider: PaymentProvider) -> Mapping[str, Handler]:
    """What runs rows of work of this slice."""

    async def send(item: Item) -> None:
        if not await carry(app, provider, item.tenant_id, UUID(item.payload["payment_id"])):
            raise Retry(POLL_SECONDS, "the provider has not finished it")

    return {SEND: Handler(send, never_dies=True)}


async def carry(app: App, provider: PaymentProvider, tenant_id: UUID, payment_id: UUID) -> bool:
    """One step: tell the provider, or ask it. True once the payment has ended."""
    async with app.database.tx(tenant_id) as tx:
        row = await repository.locked(tx, payment_id)
        if row is None or row.status in FINAL:
            return True
        fresh = row.status == Status.PENDING
        instruction = Instruction(row.id, row.direction, Money(row.amount_minor, row.currency))
        if fresh:
            row.status, row.sent_at = Status.SENT.value, app.clock()
    answer = await (_told(provider, instruction) if fresh else _asked(provider, instruction))
    if answer is None and await _to_tell_again(app, tenant_id, payment_id):
        answer = await _told(provider, instruction)
    async with app.database.tx(tenant_id) as tx:
        row = await repository.locked(tx, payment_id)
        assert row is not None
        if isinstance(answer, Refused) and row.status not in FINAL:
            await fail(tx, row, answer.reason, now=app.clock())
        elif isinstance(answer, Taken):
            row.reference = row.reference or answer.reference
        elif isinstance(answer, News):
            await hear(tx, provider.name, payment_id, answer, now=app.clock())
        await _note_overdue(tx, payment_id, now=app.clock())
        return row.status in FINAL


async def _told(provider: PaymentProvider, instruction: Instruction) -> Taken | Refused | Unknown:
    try:
        return await provider.send(instruction)
    except (TimeoutError, OSError) as error:
        return Unknown(type(error).__name__)


async def _asked(provider: PaymentProvider, instruction: Instruction) -> News | Unknown | None:
    try:
        return await provider.find(instruction)
    except (TimeoutError, OSError) as error:
        return Unknown(type(error).__name__)


async def _to_tell_again(app: App, tenant_id: UUID, payment_id: UUID) -> bool:
    """Whether a payment that its provider does not know is due to be told, which is written first, as `sent_at`.

    Not one that it took under a reference: that it has.
    """
    async with app.database.tx(tenant_id) as tx:
        row = await repository.locked(tx, payment_id)
        assert row is not None
        now = app.clock()
        if row.status != Status.SENT or row.reference or row.sent_at is None or now - row.sent_at < AGAIN:
            return False
        row.sent_at = now
        return True


async def _note_overdue(tx: Tx, payment_id: UUID, *, now: datetime) -> None:
    """A break for a payment of which nothing was heard, once."""
    row = await repository.locked(tx, payment_id)
    assert row is not None
    if row.status in FINAL or row.overdue or now - row.created_at < OVERDUE:
        return
    row.overdue = True
    expected = row.amount_minor if row.direction == "deposit" else -row.amount_minor
    await open_break(
        tx,
        Difference(BreakKind.OVERDUE, expected=expected, actual=0),
        source=row.provider,
        reference=str(row.id),
        currency=row.currency,
        account_id=row.account_id,
        now=now,
    )
