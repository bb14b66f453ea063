"""The ledger's functions in PostgreSQL: what they post, what they refuse, what cannot be changed afterwards."""

import json
from uuid import UUID

import asyncpg
import pytest

from app.custody.ledger import service
from app.custody.ledger.domain import (
    AccountKind,
    Leg,
    Slot,
    TransactionKind,
    client_cash,
    fill_entries,
    head_kind,
    reversal_entries,
    settlement_entries,
)
from app.infra.database import Database
from app.infra.roles import with_database
from app.kernel.errors import DomainError
from app.kernel.ids import uuid7
from app.kernel.money import Money
from tests.integration.custody.conftest import NOW, Books, Urls, make_tenant

pytestmark = pytest.mark.asyncio


async def refused(books: Books, sql: str, *arguments: object) -> str:
    with pytest.raises(asyncpg.PostgresError) as caught:
        await books.call(sql, *arguments)
    return str(caught.value.sqlstate)


async def cash_of(books: Books, account: UUID) -> UUID:
    found: UUID = await books.value(
        "select id from ledger_accounts where account_id = $1 and kind = 'client_cash'", account
    )
    return found


async def pool_account(books: Books, kind: str, currency: str = "USD", shard: int = 0) -> UUID:
    sql = "select id from ledger_accounts where kind = $1 and currency = $2 and shard = $3"
    found: UUID = await books.value(sql, kind, currency, shard)
    return found


CASH = "from ledger_accounts where account_id = $1 and kind = 'client_cash'"
FILL = "select * from ledger_settle_fill($1, $2, $3, $4, $5, null, null, now(), '{}')"
POST = "select ledger_post($1, $2, $3, $4, $5, $6, $7, '{}')"


async def test_a_funded_account_shows_its_opening_balance_and_the_bank_holds_it(books: Books) -> None:
    account = await books.open(100_000_00)
    async with books.tx() as tx:
        shown = await service.balances(tx, account)
    assert [(b.currency, b.posted, b.held, b.available) for b in shown] == [("USD", 100_000_00, 0, 100_000_00)]
    proof = (await books.check())["USD"]
    assert proof.client_liabilities == proof.omnibus_bank == 100_000_00
    assert (proof.entries, proof.accounts) == (2, 13)


async def test_what_clients_own_equals_the_omnibus_account_once_trades_are_settled(books: Books) -> None:
    first, second = await books.open(50_000), await books.open(30_000)
    for account, cash, charges in ((first, -20_000, 100), (second, 5_000, 50)):
        await books.settle(account, cash, charges)
    assert (await books.check())["USD"].clearing == 15_000
    for account, cash, charges in ((first, -20_000, 100), (second, 5_000, 50)):
        assert await books.mature(account, cash, charges)
    proof = (await books.check())["USD"]
    assert (proof.clearing, proof.charges) == (0, 150)
    assert proof.client_liabilities == 50_000 + 30_000 - 20_100 + 4_950
    assert proof.omnibus_bank == proof.client_liabilities + proof.charges


async def test_a_fill_posts_what_is_unsettled_clearing_and_charges_and_uses_up_its_hold(books: Books) -> None:
    account, order = await books.open(100_000), uuid7()
    assert await books.hold(order, account, 30_500) == 69_500
    half = await books.settle(account, -15_000, 100, order=order, release=15_250)
    assert tuple(half) == (84_900, 84_900 - 15_250, 15_250, False)
    rest = await books.settle(account, -15_000, 100, order=order, release=None)
    assert tuple(rest) == (69_800, 69_800, 15_250, False)
    state = await books.call("select state, remaining, closed_at is not null from ledger_holds where id = $1", order)
    assert tuple(state[0]) == ("posted", 0, True)
    proof = (await books.check())["USD"]
    assert (proof.clearing, proof.charges) == (30_000, 200)


async def test_a_fill_of_an_account_from_before_there_was_settlement_opens_what_it_posts_to(
    books: Books, custody_urls: dict[str, str]
) -> None:
    account = await books.open(100_000)
    database = custody_urls["mandi_app"].rpartition("/")[2]
    admin = await asyncpg.connect(with_database(custody_urls["admin"], database))
    kinds = ["client_receivable", "client_payable"]
    await admin.execute("delete from ledger_accounts where account_id = $1 and kind = any ($2)", account, kinds)
    await admin.close()
    await books.settle(account, -15_000, 100)
    await books.settle(account, 20_000, 100)
    assert await books.available(account) == 100_000 - 15_100 + 19_900
    await books.check()


async def legs_of(books: Books, transaction: UUID) -> set[Leg]:
    rows = await books.call(
        "select a.kind, a.currency, a.account_id, a.shard, a.head, e.amount from ledger_entries e "
        "join ledger_accounts a on a.id = e.ledger_account_id where e.transaction_id = $1 and a.currency <> 'XXX'",
        transaction,
    )
    return {
        Leg(Slot(AccountKind(r["kind"]), r["currency"], r["account_id"], r["shard"], r["head"]), r["amount"])
        for r in rows
    }


@pytest.mark.parametrize("cash", [-20_000, 20_000])
async def test_the_posted_legs_of_a_fill_and_its_settlement_are_those_of_the_domain(books: Books, cash: int) -> None:
    account, fill, settlement = await books.open(), uuid7(), uuid7()
    heads = {"brokerage": 20, "stt": 10, "gst": 4, "exchange": 0, "sebi": 1}
    await books.call(FILL, fill, account, "USD", cash, json.dumps(heads))
    expected = fill_entries(account, cash=Money(cash, "USD"), heads=heads)
    assert await legs_of(books, fill) == set(expected)
    assert {leg.slot.kind for leg in expected if leg.slot.head in ("stt", "gst")} == {AccountKind.TAXES}
    await books.mature(account, cash, 35, settlement=settlement)
    unsettled = {"receivable": max(cash - 35, 0), "payable": max(35 - cash, 0)}
    assert await legs_of(books, settlement) == set(settlement_entries(account, cash=Money(cash, "USD"), **unsettled))
    await books.check()


@pytest.mark.parametrize("head", ["brokerage", "stt", "ctt", "stamp", "gst", "sebi", "exchange", "finra_taf"])
async def test_a_head_is_a_tax_for_the_database_as_for_the_domain(books: Books, head: str) -> None:
    assert await books.value("select ledger_head_kind($1)", head) == head_kind(head)


async def test_a_repeated_fill_changes_nothing_and_says_so(books: Books) -> None:
    account, fill, order = await books.open(100_000), uuid7(), uuid7()
    await books.hold(order, account, 20_000)
    first = await books.settle(account, -9_000, 10, fill=fill, order=order, release=10_000)
    again = await books.settle(account, -9_000, 10, fill=fill, order=order, release=10_000)
    assert (first["replayed"], again["replayed"], again["released"]) == (False, True, 0)
    assert (again["posted"], again["available"]) == (first["posted"], first["available"]) == (90_990, 80_990)
    with pytest.raises(asyncpg.PostgresError, match="belongs to another ledger transaction"):
        await books.settle(account, -9_001, 10, fill=fill, order=order, release=10_000)
    await books.check()


@pytest.mark.parametrize(("cash", "charges", "entries"), [(0, 0, 0), (0, 7, 2), (500, 0, 2), (500, 500, 2), (-3, 4, 3)])
async def test_a_fill_has_a_leg_for_what_moves_and_none_for_what_does_not(
    books: Books, cash: int, charges: int, entries: int
) -> None:
    account, fill, order = await books.open(10_000), uuid7(), uuid7()
    await books.hold(order, account, 100)
    settled = await books.settle(account, cash, charges, fill=fill, order=order)
    assert tuple(settled) == (10_000 + cash - charges, 10_000 + cash - charges, 100, False)
    assert await books.value("select count(*) from ledger_entries where transaction_id = $1", fill) == entries
    await books.check()


async def test_a_fill_is_recorded_even_when_it_overdraws_and_entries_then_stop(books: Books) -> None:
    account, order = await books.open(1_000), uuid7()
    await books.hold(order, account, 1_000)
    settled = await books.settle(account, -1_040, 5, order=order)
    assert (settled["posted"], settled["available"]) == (-45, -45)
    assert await refused(books, "select ledger_hold($1, $2, 1)", uuid7(), account) == "MD001"
    assert await books.value(f"select overdrawn {CASH}", account) == 45
    await books.check()
    await books.settle(account, 50, 0)
    assert await books.value(f"select overdrawn {CASH}", account) == 0
    assert await books.hold(uuid7(), account, 5) == 0
    await books.check()


async def test_a_fill_after_its_hold_was_voided_is_recorded_too(books: Books) -> None:
    account, order = await books.open(1_000), uuid7()
    await books.hold(order, account, 600)
    assert await books.void(order) == 600
    settled = await books.settle(account, -500, 5, order=order, release=600)
    assert (settled["released"], settled["available"]) == (0, 495)
    assert await books.value("select state from ledger_holds where id = $1", order) == "voided"
    await books.check()


async def test_a_hold_needs_funds_and_is_made_once(books: Books) -> None:
    account, order = await books.open(1_000), uuid7()
    assert await books.hold(order, account, 600) == 400
    assert await books.hold(order, account, 600) == 400
    assert await refused(books, "select ledger_hold($1, $2, 700)", order, account) == "MD003"
    assert await refused(books, "select ledger_hold($1, $2, 401)", uuid7(), account) == "MD001"
    assert await refused(books, "select ledger_hold($1, $2, 0)", uuid7(), account) == "MD006"
    assert await refused(books, "select ledger_hold($1, $2, 5)", uuid7(), uuid7()) == "MD005"
    assert await books.available(account) == 400
    assert (await books.void(order), await books.void(order), await books.void(uuid7())) == (600, 0, 0)
    assert await books.available(account) == 1_000
    await books.check()


async def test_a_withdrawal_never_takes_what_is_held(books: Books) -> None:
    account = await books.open(1_000)
    await books.hold(uuid7(), account, 900)
    with pytest.raises(DomainError) as caught:
        async with books.tx() as tx:
            await service.withdraw(tx, account, Money(101, "USD"), idempotency_key="w", effective_at=NOW)
    assert caught.value.code == "insufficient_funds"
    async with books.tx() as tx:
        await service.withdraw(tx, account, Money(100, "USD"), idempotency_key="w", effective_at=NOW)
    assert await books.available(account) == 0
    await books.check()


async def test_the_same_key_posts_once_and_refuses_other_legs(books: Books) -> None:
    account = await books.open(1_000)
    ids = []
    for _ in range(2):
        async with books.tx() as tx:
            ids.append(await service.fund(tx, account, Money(50, "USD"), idempotency_key="k", effective_at=NOW))
    assert ids[0] == ids[1]
    with pytest.raises(DomainError) as caught:
        async with books.tx() as tx:
            await service.fund(tx, account, Money(51, "USD"), idempotency_key="k", effective_at=NOW)
    assert caught.value.code == "idempotency_key_reused"
    assert await books.available(account) == 1_050


async def test_a_used_transaction_id_under_another_key_is_refused(books: Books) -> None:
    account = await books.open(1_000)
    legs = [await pool_account(books, "omnibus_bank"), await cash_of(books, account)]
    used = await books.value(POST, uuid7(), "deposit", "a", "f", NOW, legs, [-5, 5])
    assert await refused(books, POST, used, "deposit", "b", "f", NOW, legs, [-5, 5]) == "MD003"


async def test_malformed_postings_are_refused(books: Books) -> None:
    account, euros = await books.open(1_000), await books.open(1_000, currency="INR")
    cash, other = await cash_of(books, account), await cash_of(books, euros)
    bank = await pool_account(books, "omnibus_bank")
    firm = await books.value("select ledger_open_firm('firm_bank', 'USD')")

    async def answer(legs: list[UUID], amounts: list[int | None]) -> str:
        return await refused(books, POST, uuid7(), "deposit", str(uuid7()), "f", NOW, legs, amounts)

    assert await answer([cash, bank], [5, -4]) == "MD002"
    assert await answer([cash, other], [5, -5]) == "MD002"
    assert await answer([cash, firm], [5, -5]) == "MD002"
    assert await answer([cash, bank], [0, 0]) == "MD006"
    assert await answer([cash, bank], [None, 5]) == "MD006"
    assert await answer([cash, cash], [5, -5]) == "MD006"
    assert await answer([cash], [5]) == "MD006"
    assert await answer([], []) == "MD006"
    assert await answer([cash, bank], [5]) == "MD006"
    assert await answer([cash, bank], [10**15 + 1, -(10**15) - 1]) == "MD006"
    assert await answer([cash, uuid7()], [5, -5]) == "MD005"
    assert (await books.check())["USD"].entries == 2


async def test_a_fill_in_another_currency_or_of_an_unknown_account_is_refused(books: Books) -> None:
    account = await books.open(1_000)
    assert await refused(books, FILL, uuid7(), account, "INR", -5, "{}") == "MD004"
    assert await refused(books, FILL, uuid7(), uuid7(), "USD", -5, "{}") == "MD005"
    assert await refused(books, FILL, uuid7(), account, "USD", 10**15 + 1, "{}") == "MD006"
    assert await refused(books, "select ledger_open_books($1, 'INR')", account) == "MD004"


async def test_a_dividend_owed_by_a_short_position_may_overdraw_and_nothing_posts_nothing(books: Books) -> None:
    account = await books.open(1_000)
    async with books.tx() as tx:
        paid = await service.pay_dividend(
            tx, account, Money(-1_200, "USD"), idempotency_key="d", effective_at=NOW, details={"action": "x"}
        )
        nothing = await service.pay_cash_in_lieu(
            tx, account, Money(0, "USD"), idempotency_key="e", effective_at=NOW, details={}
        )
        await service.pay_cash_in_lieu(tx, account, Money(7, "USD"), idempotency_key="f", effective_at=NOW, details={})
    assert paid is not None and nothing is None
    assert await books.available(account) == -193
    await books.check()


async def test_a_mistake_is_corrected_by_its_reversal(books: Books) -> None:
    account = await books.open(1_000)
    legs = (Leg(client_cash(account, "USD"), 70), Leg(Slot(AccountKind.SUSPENSE, "USD"), -70))
    async with books.tx() as tx:
        await service.post(tx, TransactionKind.ADJUSTMENT, legs, idempotency_key="a", effective_at=NOW)
        back = reversal_entries(legs)
        await service.post(tx, TransactionKind.REVERSAL, back, idempotency_key="a:undo", effective_at=NOW)
    assert await books.available(account) == 1_000
    assert (await books.check())["USD"].entries == 6


async def test_legs_of_books_that_are_not_open_are_refused(books: Books) -> None:
    with pytest.raises(DomainError) as caught:
        async with books.tx() as tx:
            await service.fund(tx, uuid7(), Money(5, "USD"), idempotency_key="x", effective_at=NOW)
    assert caught.value.code == "ledger_account_not_found"


async def test_without_a_tenant_nothing_is_posted_or_shown(database: Database, books: Books) -> None:
    account = await books.open(1_000)
    with pytest.raises(asyncpg.PostgresError, match="no tenant is set"):
        await database.pool.fetchval("select ledger_hold($1, $2, 5)", uuid7(), account)
    assert await database.pool.fetchval("select count(*) from ledger_accounts") == 0


async def test_another_tenant_finds_no_account_hold_or_key(database: Database, books: Books) -> None:
    account, order = await books.open(1_000), uuid7()
    await books.hold(order, account, 100)
    cash, stranger = await cash_of(books, account), await make_tenant(database)
    own = await stranger.open(500)
    mine = await cash_of(stranger, own)
    assert await refused(stranger, POST, uuid7(), "transfer", "t", "f", NOW, [cash, mine], [-5, 5]) == "MD005"
    assert await refused(stranger, "select ledger_hold($1, $2, 5)", uuid7(), account) == "MD005"
    with pytest.raises(asyncpg.PostgresError, match="has no books"):
        await stranger.settle(account, 100, 0)
    assert await stranger.void(order) == 0
    assert await stranger.value("select (select posted - held from ledger_cash($1))", account) is None
    assert await refused(stranger, "select ledger_open_books($1, 'USD')", account) == "23503"
    mature = "select ledger_settle_trades($1, $2, 1, 0, 1, null, 0, now(), '{}')"
    assert await refused(stranger, mature, uuid7(), account) == "MD005"
    assert await stranger.hold(order, own, 5) == 495
    assert (await books.check())["USD"].client_liabilities == 1_000
    assert (await stranger.check())["USD"].client_liabilities == 500


@pytest.mark.parametrize(
    "sql",
    [
        "update ledger_accounts set posted = posted + 1",
        "insert into ledger_accounts select * from ledger_accounts",
        "delete from ledger_accounts",
        "update ledger_entries set amount = 1",
        "delete from ledger_entries",
        "truncate ledger_entries",
        "insert into ledger_entries select * from ledger_entries",
        "update ledger_transactions set kind = 'fill'",
        "delete from ledger_transactions",
        "truncate ledger_transactions cascade",
        "update ledger_holds set remaining = 0",
        "delete from ledger_holds",
        "select ledger_enter(ledger_tenant(), uuidv7(), 'fill', 'k', 'f', now(), '{}')",
        "select ledger_move(tenant_id, null, array[id], array[posted], array[posted], true) from ledger_accounts",
        "set local role mandi_ledger",
    ],
)
async def test_the_application_can_write_only_through_the_functions(books: Books, sql: str) -> None:
    await books.open()
    assert await refused(books, sql) == "42501"


@pytest.mark.parametrize("table", ["ledger_entries", "ledger_transactions"])
@pytest.mark.parametrize("verb", ["update {} set tenant_id = tenant_id", "delete from {}", "truncate {} cascade"])
async def test_the_owner_cannot_rewrite_history(books: Books, custody_urls: Urls, table: str, verb: str) -> None:
    await books.open()
    owner = await asyncpg.connect(custody_urls["mandi_migrate"])
    try:
        with pytest.raises(asyncpg.PostgresError) as caught:
            async with owner.transaction():
                await owner.execute("select set_config('app.tenant_id', $1, true)", str(books.tenant_id))
                await owner.execute(verb.format(table))
        assert caught.value.sqlstate == "MD008"
    finally:
        await owner.close()


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        ("update ledger_entries set amount = amount + 1 where amount > 0", "balance_mismatches"),
        ("update ledger_entries set amount = amount + 1 where amount > 0", "unbalanced_transactions"),
        ("update ledger_entries set amount = amount + 1 where amount > 0", "entries_sum"),
        ("update ledger_entries set balance_after = balance_after + 1 where amount > 0", "broken_chains"),
        ("update ledger_accounts set posted = posted + 1 where kind = 'client_cash'", "segregation_difference"),
        ("update ledger_accounts set pending_out = 5 where kind = 'client_cash'", "hold_mismatches"),
        ("update ledger_accounts set overdrawn = 5 where kind = 'client_cash'", "over_held"),
        ("update ledger_accounts set receivable = 5 where kind = 'client_cash'", "balance_mismatches"),
        ("update ledger_accounts set version = 9 where kind = 'client_cash'", "balance_mismatches"),
    ],
)
async def test_the_check_finds_what_an_administrator_changed_behind_the_triggers(
    books: Books, custody_server: tuple[str, Urls], damage: str, found: str
) -> None:
    await books.open()
    admin = await asyncpg.connect(custody_server[0].rsplit("/", 1)[0] + "/mandi")
    try:
        async with admin.transaction():
            await admin.execute("set local session_replication_role = replica")
            await admin.execute(f"{damage} and tenant_id = $1", books.tenant_id)
    finally:
        await admin.close()
    async with books.tx() as tx:
        (row,) = await service.check(tx)
    assert found in row.problems
