"""What covers the clients' money: no suspense below zero, and an intraday position only while it is not paid for."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from app.bootstrap import App
from app.custody.funding.domain import News
from app.custody.funding.service import hear, request_withdrawal
from app.custody.ledger.schemas import SegregationOut
from app.custody.ledger.service import Segregation, balances, segregation
from app.kernel.money import Money
from app.kernel.orders import OrderStatus, Product, Side
from tests.integration.custody.conftest import NOW, Books
from tests.integration.trading.conftest import PRICE, Venue, open_venue

pytestmark = pytest.mark.asyncio
PAID = 900 * 20_00
BROUGHT = 10_000_00


@pytest_asyncio.fixture
async def venue(app: App) -> AsyncIterator[Venue]:
    """An account with 10,000.00 USD that trades AAPL, last seen at 20.00."""
    opened = await open_venue(app)
    yield opened
    with contextlib.suppress(Exception):
        await app.stream.delete(f"feed:{opened.feed}")


async def _row(books: Books) -> Segregation:
    """The one currency, which the documented equation explains."""
    async with books.tx() as tx:
        (row,) = await segregation(tx)
    missing = row.client_liabilities + row.other_liabilities - row.omnibus_bank - row.clearing - row.financed_debits
    assert row.shortfall == max(0, missing)
    return row


def _books(venue: Venue) -> Books:
    return Books(venue.app.database, venue.tenant_id)


async def _trade(venue: Venue, side: Side, *, price: int = PRICE, **changes: Any) -> None:
    """An intraday order for 900 that is filled at `price`."""
    placed = await venue.order(product=Product.INTRADAY, side=side, quantity=900, **changes)
    assert placed.status is OrderStatus.ACCEPTED, placed.reasons
    await venue.work()
    await venue.show(price)
    assert await venue.status(placed.id) == "filled"
    await venue.is_sound()


async def test_what_a_withdrawal_was_paid_beyond_what_was_asked_is_missing(books: Books) -> None:
    account = await books.open(1_000_00)
    async with books.tx() as tx:
        payment = await request_withdrawal(tx, account, "250.00", approval_id=None, now=NOW)
    async with books.tx() as tx:
        await hear(tx, payment.provider, payment.id, News("w", Money(300_00, "USD"), final=True, paid=True), now=NOW)
    row = await _row(books)
    assert (row.client_liabilities, row.omnibus_bank, row.other_liabilities) == (750_00, 700_00, 0)
    assert (row.shortfall, row.segregated) == (50_00, False)
    assert (await books.check())["USD"].suspense == -50_00


async def test_what_waits_in_suspense_is_owed(books: Books) -> None:
    await books.open(1_000_00)
    async with books.tx() as tx:
        await hear(tx, "sandbox", None, News("stray", Money(77_00, "USD"), final=True, paid=True), now=NOW)
    row = await _row(books)
    assert (row.other_liabilities, row.shortfall) == (77_00, 0)


async def test_an_open_intraday_position_on_margin_is_no_shortfall_and_hides_none(venue: Venue) -> None:
    books = _books(venue)
    await _trade(venue, Side.BUY)
    row = await _row(books)
    charges = row.other_liabilities
    assert 0 < charges < 100_00
    assert (row.client_debits, row.financed_debits) == (PAID - BROUGHT + charges,) * 2
    assert (row.omnibus_bank, row.clearing) == (BROUGHT, -PAID)
    assert (row.shortfall, row.segregated) == (0, True)
    shown = SegregationOut.of(row)
    assert shown.financed_debits == shown.client_debits == f"{(PAID - BROUGHT + charges) / 100:.2f}"
    poor = await books.open(10_00)
    await books.settle(poor, -25_00, 0)
    row = await _row(books)
    assert (row.client_debits - row.financed_debits, row.shortfall, row.segregated) == (15_00, 15_00, False)


async def test_a_debit_that_the_close_leaves_is_a_shortfall(venue: Venue) -> None:
    await _trade(venue, Side.BUY)
    await _trade(venue, Side.SELL, price=50_000)  # 5.00: 13,500.00 lost of 10,000.00
    row = await _row(_books(venue))
    assert (row.client_debits, row.financed_debits) == (3_500_00 + row.other_liabilities, 0)
    assert (row.shortfall, row.segregated) == (row.client_debits, False)


async def test_a_profit_leaves_nothing_behind(venue: Venue) -> None:
    await _trade(venue, Side.BUY)
    await _trade(venue, Side.SELL, price=PRICE + 1_000)
    row = await _row(_books(venue))
    assert (row.client_debits, row.financed_debits, row.shortfall) == (0, 0, 0)


async def test_a_short_position_finances_no_debit(venue: Venue) -> None:
    await _trade(venue, Side.SELL)
    row = await _row(_books(venue))
    assert (row.client_debits, row.financed_debits, row.shortfall) == (0, 0, 0)


async def test_a_position_that_was_paid_for_by_the_pool_is_a_shortfall(venue: Venue) -> None:
    """Not closed in time, it settled: the clearing house was paid with other clients' money."""
    await _trade(venue, Side.BUY)
    await venue.settle(days=9)
    row = await _row(_books(venue))
    async with venue.app.database.tx(venue.tenant_id) as tx:
        (held,) = await balances(tx, venue.account_id)
    assert (held.financed, held.payable, row.clearing) == (PAID, 0, 0)
    assert row.omnibus_bank == BROUGHT - PAID
    assert (row.financed_debits, row.shortfall) == (0, row.client_debits)
    assert row.client_debits == PAID - BROUGHT + row.other_liabilities
