"""Many writers at once: money is never spent twice, a key posts once, a hold is released by exactly one."""

import asyncio
import json
from uuid import UUID

import asyncpg
import pytest

from app.custody.ledger import service
from app.custody.ledger.domain import SHARDS
from app.kernel.errors import DomainError
from app.kernel.ids import uuid7
from app.kernel.money import Money
from tests.integration.custody.conftest import NOW, Books

pytestmark = pytest.mark.asyncio


async def test_concurrent_withdrawals_of_7_from_1000_succeed_exactly_142_times(books: Books) -> None:
    account = await books.open(1_000)
    bank = await books.value("select id from ledger_accounts where kind = 'omnibus_bank'")
    cash = await books.value("select id from ledger_accounts where account_id = $1 and kind = 'client_cash'", account)

    async def withdraw(turn: int) -> str:
        legs = [cash, bank] if turn % 2 else [bank, cash]
        amounts = [-7, 7] if turn % 2 else [7, -7]
        try:
            await books.call(
                "select ledger_post($1, 'withdrawal', $2, 'f', $3, $4, $5, '{}')",
                uuid7(),
                str(turn),
                NOW,
                legs,
                amounts,
            )
        except asyncpg.PostgresError as error:
            return str(error.sqlstate)
        return "done"

    answers = await asyncio.gather(*(withdraw(turn) for turn in range(320)))
    assert (answers.count("done"), answers.count("MD001")) == (142, 178)
    assert await books.available(account) == 1_000 - 142 * 7
    await books.check()


async def test_concurrent_holds_never_reserve_more_than_there_is(books: Books) -> None:
    account = await books.open(1_000)

    async def hold() -> bool:
        try:
            await books.hold(uuid7(), account, 7)
        except asyncpg.PostgresError as error:
            assert error.sqlstate == "MD001"
            return False
        return True

    assert sum(await asyncio.gather(*(hold() for _ in range(200)))) == 142
    assert await books.available(account) == 6
    await books.check()


async def test_one_key_from_16_connections_posts_one_transaction(books: Books) -> None:
    account = await books.open(1_000)

    async def fund() -> UUID:
        async with books.tx() as tx:
            return await service.fund(tx, account, Money(50, "USD"), idempotency_key="k", effective_at=NOW)

    assert len(set(await asyncio.gather(*(fund() for _ in range(16))))) == 1
    assert await books.available(account) == 1_050
    await books.check()


async def test_one_key_with_two_meanings_lets_one_of_them_through(books: Books) -> None:
    account = await books.open(1_000)

    async def fund(minor: int) -> str:
        try:
            async with books.tx() as tx:
                await service.fund(tx, account, Money(minor, "USD"), idempotency_key="k", effective_at=NOW)
        except DomainError as error:
            return error.code
        return str(minor)

    answers = await asyncio.gather(*(fund(10 + turn % 2) for turn in range(16)))
    assert answers.count("idempotency_key_reused") == 8
    assert await books.available(account) in (1_010, 1_011)
    await books.check()


async def test_a_fill_reported_by_16_connections_is_posted_once(books: Books) -> None:
    account, order, fill = await books.open(1_000), uuid7(), uuid7()
    await books.hold(order, account, 300)
    answers = await asyncio.gather(
        *(books.settle(account, -290, 3, fill=fill, order=order, release=300) for _ in range(16))
    )
    assert [answer["replayed"] for answer in answers].count(False) == 1
    assert sum(answer["released"] for answer in answers) == 300
    assert await books.available(account) == 707
    await books.check()


async def test_of_concurrent_voids_and_fills_exactly_one_releases_the_hold(books: Books) -> None:
    account = await books.open(100_000)
    for _ in range(12):
        order = uuid7()
        await books.hold(order, account, 500)
        voids = [books.void(order) for _ in range(8)]
        fills = [books.settle(account, 0, 0, order=order) for _ in range(8)]
        released = await asyncio.gather(*voids, *fills)
        amounts = [answer if isinstance(answer, int) else answer["released"] for answer in released]
        assert sorted(amounts) == [0] * 15 + [500]
    assert await books.available(account) == 100_000
    await books.check()


@pytest.mark.parametrize("charged", [["brokerage"], [f"head-{number}" for number in range(12)]], ids=["one", "new"])
async def test_transactions_that_settle_fills_of_many_accounts_do_not_deadlock(
    books: Books, charged: list[str]
) -> None:
    """With heads of charges that nobody paid before, they open accounts of the chart that the others open, too."""
    accounts = [await books.open(100_000) for _ in range(6)]
    others = await books.value("select count(distinct shard) from ledger_accounts where kind = 'clearing'")
    assert others == 8

    async def batch(turn: int) -> None:
        order = accounts[turn % 6 :] + accounts[: turn % 6]
        heads = {charged[turn // 4 % len(charged)]: 1}
        fills = [
            {"fill": str(uuid7()), "account": str(account), "currency": "USD", "cash": -10, "heads": heads}
            | {"hold": None, "release": None, "at": NOW.isoformat(), "details": {}, "margin": 1, "financed": 1}
            for account in order
        ]
        assert await books.value("select ledger_settle_fills($1::jsonb)", json.dumps(fills)) == []

    await asyncio.gather(*(batch(turn) for turn in range(48)))
    assert [await books.available(account) for account in accounts] == [100_000 - 48 * 11] * 6
    await books.check()


async def test_settlements_of_new_instruments_do_not_deadlock(books: Books) -> None:
    """Each opens what the depository keeps of an instrument, while the others move the same bank."""
    accounts = [await books.open(100_000) for _ in range(6)]
    for account in accounts:
        await books.settle(account, -10 * 6 * 4, 0)

    async def settle(account: UUID, instruments: list[UUID]) -> None:
        sql = "select ledger_settle_trades(uuidv7(), $1, 0, 10, -10, i, 1, $3, '{}') from unnest($2::uuid[]) as i"
        await books.call(sql, account, instruments, NOW)

    for _ in range(6):
        bought = [await books.instrument() for _ in range(4)]
        await asyncio.gather(
            *(settle(account, bought[turn % 4 :] + bought[: turn % 4]) for turn, account in enumerate(accounts))
        )
    kept = "select sum(posted)::bigint from ledger_accounts where kind = 'depository'"
    assert await books.value(kept) == -6 * 6 * 4
    await books.check()


async def test_fifty_fills_at_once_collect_every_head_exactly_and_no_two_wait_for_each_other(books: Books) -> None:
    """Accounts of every shard, some of the same, heads in any order. A deadlock would be the error of one of the calls:
    here nobody tries again."""
    ids = [UUID(int=uuid7().int >> 4 << 4 | number % 16) for number in range(24)]
    accounts = [await books.open(10_000_000, account_id=account) for account in ids]
    assert {account.int % SHARDS for account in accounts} == set(range(SHARDS))
    heads = ["brokerage", "exchange", "gst", "sebi", "stt", "stamp"]

    async def fill(turn: int) -> tuple[int, dict[str, int]]:
        charged = {head: 1 + (turn * 7 + place) % 11 for place, head in enumerate(heads)}
        shuffled = {head: charged[head] for head in [*heads[turn % 6 :], *heads[: turn % 6]]}
        cash = (-1) ** turn * (1_000 + turn)
        sql = "select * from ledger_settle_fill($1, $2, 'USD', $3, $4, null, null, $5, '{}')"
        await books.call(sql, uuid7(), accounts[turn % len(accounts)], cash, json.dumps(shuffled), NOW)
        return cash, charged

    posted = await asyncio.gather(*(fill(turn) for turn in range(50)))
    for head in heads:
        collected = await books.value("select sum(posted)::bigint from ledger_accounts where head = $1", head)
        assert collected == sum(charged[head] for _, charged in posted), head
    shards = await books.value("select count(distinct shard) from ledger_accounts where head = 'stt'")
    assert shards == SHARDS
    assert await books.value("select sum(posted)::bigint from ledger_accounts where kind = 'clearing'") == -sum(
        cash for cash, _ in posted
    )
    unsettled = "select sum(receivable - payable)::bigint from ledger_accounts where kind = 'client_cash'"
    assert await books.value(unsettled) == sum(cash - sum(charged.values()) for cash, charged in posted)
    await books.check()


async def test_the_order_in_which_the_chart_was_opened_makes_no_deadlock(books: Books) -> None:
    """Two accounts of one shard whose own rows were opened after, and before, the shared ones."""
    shared = [UUID(int=uuid7().int >> 4 << 4 | 3) for _ in range(2)]
    first = await books.open(10_000_000, account_id=shared[0])
    await books.settle(first, -1_000, 5)
    second = await books.open(10_000_000, account_id=shared[1])
    await asyncio.gather(*(books.settle(one, (-1) ** turn * 100, 5) for turn in range(25) for one in (first, second)))
    assert await books.value("select sum(posted)::bigint from ledger_accounts where head = 'brokerage'") == 51 * 5
    await books.check()
