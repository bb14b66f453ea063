"""What trades will bring and cost: traded with at once, withdrawn when settled, moved by nobody by hand."""

import json

import pytest

from app.custody.ledger import service
from app.custody.ledger.domain import AccountKind, Leg, Slot, TransactionKind, fill_entries
from app.kernel.errors import DomainError
from app.kernel.ids import uuid7
from app.kernel.money import Money
from tests.integration.custody.conftest import NOW, Books
from tests.integration.custody.test_ledger import legs_of, refused

pytestmark = pytest.mark.asyncio


async def test_what_trades_bring_can_be_traded_with_at_once_and_withdrawn_when_settled(books: Books) -> None:
    account, settlement = await books.open(1_000), uuid7()
    await books.settle(account, 600, 0)
    assert await books.available(account) == 1_600
    assert await refused(books, "select ledger_hold_settled($1, $2, 1001)", uuid7(), account) == "MD001"
    with pytest.raises(DomainError) as caught:
        async with books.tx() as tx:
            await service.withdraw(tx, account, Money(1_001, "USD"), idempotency_key="w", effective_at=NOW)
    assert caught.value.code == "insufficient_funds"
    assert await books.hold(uuid7(), account, 1_500) == 100
    async with books.tx() as tx:
        (shown,) = await service.balances(tx, account)
    assert (shown.settled, shown.receivable, shown.posted, shown.withdrawable) == (1_000, 600, 1_600, 0)
    assert [await books.mature(account, 600, 0, settlement=settlement) for _ in range(2)] == [True, False]
    async with books.tx() as tx:
        (shown,) = await service.balances(tx, account)
    assert (shown.settled, shown.receivable, shown.available, shown.withdrawable) == (1_600, 0, 100, 100)
    await books.check()


async def test_what_trades_will_cost_cannot_be_withdrawn(books: Books) -> None:
    account = await books.open(1_000)
    await books.settle(account, -600, 0)
    await books.settle(account, 600, 0)
    assert await books.available(account) == 1_000
    assert await refused(books, "select ledger_hold_settled($1, $2, 401)", uuid7(), account) == "MD001"
    assert await books.value("select ledger_hold_settled($1, $2, 400)", uuid7(), account) == 0
    await books.check()


async def test_more_than_is_unsettled_cannot_settle(books: Books) -> None:
    account = await books.open(1_000)
    await books.settle(account, 600, 0)
    sql = "select ledger_settle_trades($1, $2, 601, 0, 601, null, 0, $3, '{}')"
    assert await refused(books, sql, uuid7(), account, NOW) == "23514"
    await books.check()


async def test_nobody_posts_to_what_is_unsettled_by_hand(books: Books) -> None:
    account = await books.open(1_000)
    for kind in (AccountKind.CLIENT_RECEIVABLE, AccountKind.CLIENT_PAYABLE):
        legs = (Leg(Slot(kind, "USD", account), 70), Leg(Slot(AccountKind.SUSPENSE, "USD"), -70))
        with pytest.raises(DomainError) as caught:
            async with books.tx() as tx:
                await service.post(tx, TransactionKind.ADJUSTMENT, legs, idempotency_key=kind, effective_at=NOW)
        assert caught.value.code == "invalid_posting"


@pytest.mark.parametrize("margin", [5_000, -2_000])
async def test_the_posted_legs_of_an_intraday_fill_are_those_of_the_domain(books: Books, margin: int) -> None:
    account, first, second = await books.open(100_000), uuid7(), uuid7()
    asked = {"account": str(account), "currency": "USD", "at": NOW.isoformat(), "details": {}}
    opened = asked | {"fill": str(first), "cash": -10_000, "heads": {"stt": 3}, "margin": 5_000, "financed": 10_000}
    more = asked | {"fill": str(second), "cash": 4_000, "heads": {"stt": 3}, "margin": margin, "financed": -4_000}
    await books.call("select ledger_settle_fills($1::jsonb)", json.dumps([opened, more]))
    expected = fill_entries(account, cash=Money(4_000, "USD"), heads={"stt": 3}, margin=margin)
    assert await legs_of(books, second) == set(expected)
    assert await books.available(account) == 100_000 - 6_006 - 5_000 - margin + 6_000
    await books.check()
