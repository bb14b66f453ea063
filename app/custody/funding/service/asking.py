"""Decides how a payment is asked for: what it needs, and what is written before any provider hears of it."""

from datetime import datetime
from uuid import UUID

from app.custody.accounts.service import get_account
from app.custody.funding import repository
from app.custody.funding.domain import Direction, check_amount, needs_approval
from app.custody.funding.tables import Payment
from app.custody.ledger.service import hold_settled
from app.infra.database import Tx
from app.kernel.errors import conflict, invalid, not_found
from app.kernel.ids import encode_id
from app.kernel.money import Money, currency_exponent, format_scaled, parse_scaled
from app.platform.tenancy.domain import Action
from app.platform.tenancy.service import execute
from app.web.cursors import Cursor, Slice

DEPOSIT, WITHDRAWAL = "dps", "wdr"
PROVIDER = "sandbox"
QUEUE, SEND = "default", "payment.send"


async def request_deposit(tx: Tx, account_id: UUID, amount: str, *, now: datetime) -> Payment:
    """Ask for money into an account. Raises `account_not_found`, `account_closed`, `invalid_amount`."""
    return await _ask(tx, Direction.DEPOSIT, account_id, await _money(tx, account_id, amount), now=now)


async def request_withdrawal(
    tx: Tx, account_id: UUID, amount: str, *, approval_id: UUID | None, now: datetime
) -> Payment:
    """Hold settled cash of an account, to be paid to its holder's bank.

    Beyond a threshold it takes two people: raises `approval_needed` with what to propose. Raises as `request_deposit`,
    and `insufficient_funds` when less than that is settled, owed to nobody and not held.
    """
    money = await _money(tx, account_id, amount)
    if needs_approval(money):
        payload = {
            "account_id": encode_id("acc", account_id),
            "amount": format_scaled(money.minor, currency_exponent(money.currency)),
        }
        await execute(tx, approval_id, Action.WITHDRAW, payload, now=now)
    row = await _ask(tx, Direction.WITHDRAWAL, account_id, money, now=now)
    await hold_settled(tx, row.id, account_id, money)
    return row


async def get_payment(tx: Tx, direction: Direction, payment_id: UUID) -> Payment:
    """Raises `deposit_not_found` or `withdrawal_not_found`."""
    row = await tx.get(Payment, payment_id)
    if row is None or row.direction != direction:
        if direction is Direction.DEPOSIT:
            raise not_found("deposit", encode_id(DEPOSIT, payment_id))
        raise not_found("withdrawal", encode_id(WITHDRAWAL, payment_id))
    return row


async def list_payments(tx: Tx, direction: Direction, cursor: Cursor, *, account_id: UUID | None) -> Slice[Payment]:
    """Newest first."""
    return cursor.cut(await repository.payments(tx, cursor, direction, account_id))


async def _money(tx: Tx, account_id: UUID, amount: str) -> Money:
    account = await get_account(tx, account_id)
    if account.status == "closed":
        raise conflict("account_closed", "This account is closed: it takes and pays nothing.", param="account_id")
    if account.mode != "test":
        raise invalid("payments_unavailable", "No payment provider is connected for live accounts.", param="account_id")
    money = Money(parse_scaled(amount, currency_exponent(account.currency), param="amount"), account.currency)
    check_amount(money)
    return money


async def _ask(tx: Tx, direction: Direction, account_id: UUID, amount: Money, *, now: datetime) -> Payment:
    row = Payment(
        tenant_id=tx.tenant_id,
        account_id=account_id,
        direction=direction.value,
        currency=amount.currency,
        amount_minor=amount.minor,
        provider=PROVIDER,
        created_at=now,
    )
    tx.add(row)
    shown = format_scaled(amount.minor, currency_exponent(amount.currency))
    if direction is Direction.DEPOSIT:
        tx.emit("deposit.created", row.id, {"amount": shown}, account_id=account_id)
    else:
        tx.emit("withdrawal.created", row.id, {"amount": shown}, account_id=account_id)
    tx.work(QUEUE, SEND, row.id, {"payment_id": str(row.id)})
    await tx.flush()
    return row
