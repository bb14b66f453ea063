"""What accounts need of the ledger and the market above them. `main` and the seed hand it in."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol
from uuid import UUID

from app.infra.database import Tx
from app.kernel.money import Money


class Books(Protocol):
    """Opens an account's books in the transaction that makes the account."""

    async def open(self, tx: Tx, account_id: UUID, opening_balance: Money, *, now: datetime) -> None:
        """Post the opening balance, in the books' currency. Raises `DomainError`; the transaction must then be left."""
        ...


MarketTime = Callable[[Tx, str], Awaitable[datetime | None]]
"""The clock of a feed (rule 18); None for one that never ran."""
