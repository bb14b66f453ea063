"""Accounts at live brokers, which no route opens yet."""

from datetime import datetime
from uuid import UUID

from app.custody.accounts.tables import Account
from app.custody.ledger.service import Books
from app.infra.database import Database
from app.kernel.ids import uuid7
from app.kernel.money import Money

BROKER = "live"


async def open_live_account(
    database: Database, tenant_id: UUID, *, feed: str, cash_minor: int, now: datetime, broker: str = BROKER
) -> UUID:
    """A live account in USD with cash; its orders go to `broker`."""
    async with database.tx(tenant_id) as tx:
        account = Account(
            tenant_id=tenant_id,
            id=uuid7(),
            name="live",
            mode="live",
            currency="USD",
            broker=broker,
            feed=feed,
            charge_schedule="us_equity",
            slippage_bps=0,
        )
        tx.add(account)
        await tx.flush()
        await Books().open(tx, account.id, Money(cash_minor, "USD"), now=now)
    return account.id
