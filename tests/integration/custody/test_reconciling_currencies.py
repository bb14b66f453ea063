"""A bank file speaks of the currencies in it, and of no other."""

from datetime import UTC, date, datetime, timedelta

import pytest

from app.kernel.orders import Mode
from app.trading.portfolio.domain.reconciling import Source
from app.trading.portfolio.service import reconcile
from app.trading.portfolio.tables import Reconciliation
from tests.integration.custody.conftest import Books

pytestmark = pytest.mark.asyncio
DAY = date(2003, 1, 6)
FOUND = datetime(2026, 1, 31, tzinfo=UTC)


async def _send(books: Books, *, days: int, **balances: str) -> Reconciliation:
    """A bank file of `days` later with a line for each currency."""
    day = DAY + timedelta(days=days)
    lines = [f"{day},x,{currency},{balance},{balance}" for currency, balance in balances.items()]
    csv = "\n".join(["date,reference,currency,amount,balance", *lines, ""])
    async with books.tx() as tx:
        return await reconcile(tx, Source.BANK, csv, as_of=day, mode=Mode.TEST, now=FOUND + timedelta(days=days))


async def _breaks(books: Books) -> list[tuple[str, str, datetime]]:
    rows = await books.call("select currency, status, opened_at from ledger_breaks order by currency")
    return [(row["currency"], row["status"], row["opened_at"]) for row in rows]


async def test_a_file_closes_no_break_of_a_currency_that_it_does_not_mention(books: Books) -> None:
    await books.open(500_00, currency="INR")
    await books.open(100_00, currency="USD")
    assert (await _send(books, days=0, INR="500.00", USD="90.00")).opened == 1
    silent = await _send(books, days=1, INR="500.00")
    assert (silent.compared, silent.differences, silent.closed) == (1, 0, 0)
    assert await _breaks(books) == [("USD", "open", FOUND)]
    other = await _send(books, days=2, INR="499.00")
    assert (other.opened, other.closed) == (1, 0)
    assert await _breaks(books) == [("INR", "open", FOUND + timedelta(days=2)), ("USD", "open", FOUND)]
    agrees = await _send(books, days=3, USD="100.00")
    assert (agrees.opened, agrees.closed) == (0, 1)
    assert [row[:2] for row in await _breaks(books)] == [("INR", "open"), ("USD", "resolved")]
