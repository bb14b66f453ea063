"""What accounts need of the ledger above them. `main` and the seed hand it in."""

from datetime import datetime
from typing import Protocol

from app.custody.accounts.tables import Account
from app.infra.database import Tx
from app.kernel.money import Money


class Books(Protocol):
    """Opens an account's books in the transaction that makes the account."""

    async def open(self, tx: Tx, account: Account, opening_balance: Money, *, now: datetime) -> None:
        """Post the opening balance. Raises `DomainError`; the transaction must then be left."""
        ...
