"""A mistake is undone by another transaction, by two people, once; a difference ends with a reason; over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from app.custody.funding.domain import News
from app.custody.funding.service import hear
from app.custody.ledger.domain import AccountKind, Leg, Slot, TransactionKind, client_cash
from app.custody.ledger.service import TenantAccounts, fund, post, segregation, unsegregated
from app.infra.database import Database
from app.kernel.ids import decode_id, encode_id, uuid7
from app.kernel.money import Money
from app.platform.tenancy.domain import Action, Role
from app.platform.tenancy.service import approve, create_tenant, propose
from app.trading.risk.service import TenantHalts
from tests.factories.members import Person, make_person
from tests.integration.custody.conftest import NOW, Books

pytestmark = pytest.mark.asyncio
REASON = "credited to the wrong account"


@dataclass
class Office:
    """A tenant with two owners, an account of 1,000.00 and the gateway."""

    database: Database
    books: Books
    account: UUID
    maker: Person
    checker: Person
    http: httpx.AsyncClient

    async def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, who: Person | None = None
    ) -> Any:
        """Status and body, as the maker unless stated."""
        answer = await self.http.request(method, f"/v1{path}", headers=(who or self.maker).headers, json=body)
        return answer.status_code, answer.json()

    async def approval(self, transaction: UUID, reason: str = REASON) -> str:
        payload = {"transaction_id": encode_id("ltx", transaction), "reason": reason}
        now = self.maker.present.auth_time
        assert now is not None
        async with self.database.tx(self.books.tenant_id, self.maker.present) as tx:
            row = await propose(
                tx, Action.REVERSE_TRANSACTION, payload, accounts=TenantAccounts(), halts=TenantHalts(), now=now
            )
        async with self.database.tx(self.books.tenant_id, self.checker.present) as tx:
            await approve(tx, row.id, now=now)
        return encode_id("apr", row.id)

    async def reverse(self, transaction: UUID) -> dict[str, Any]:
        """Undone by two people."""
        body = {"reason": REASON, "approval_id": await self.approval(transaction)}
        status, undone = await self.call("POST", f"/ledger_transactions/{encode_id('ltx', transaction)}/reverse", body)
        assert status == 201, undone
        return dict(undone)

    async def stray(self) -> dict[str, Any]:
        """The break of 77.00 that nobody asked for."""
        async with self.books.tx() as tx:
            news = News("stray", Money(77_00, "USD"), final=True, paid=True)
            await hear(tx, "sandbox", None, news, now=NOW)
        return await self.found()

    async def found(self) -> dict[str, Any]:
        """The one break."""
        _, page = await self.call("GET", "/breaks")
        (one,) = page["data"]
        return dict(one)

    async def allocate(self, account: UUID | None) -> Any:
        """Status and body of the one break's resolution."""
        body = {"reason": "by the bank's letter"} | ({"account_id": encode_id("acc", account)} if account else {})
        return await self.call("POST", f"/breaks/{(await self.found())['id']}/resolve", body)

    async def posted(self, key: str) -> UUID:
        sql = "select id from ledger_transactions where idempotency_key = $1"
        return UUID(str(await self.books.value(sql, key)))

    async def suspense(self) -> int:
        return (await self.books.check())["USD"].suspense

    async def credit(self, minor: int) -> UUID:
        async with self.books.tx() as tx:
            return await fund(tx, self.account, Money(minor, "USD"), idempotency_key=f"f{minor}", effective_at=NOW)


@pytest_asyncio.fixture
async def office(database: Database, gateway_app: FastAPI) -> AsyncIterator[Office]:
    tenant_id = await create_tenant(database, slug=f"t{uuid7().hex[-12:]}", name="T")
    books = Books(database, tenant_id)
    maker, checker = [await make_person(database, tenant_id) for _ in range(2)]
    transport = httpx.ASGITransport(app=gateway_app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        yield Office(database, books, await books.open(1_000_00), maker, checker, http)
    await books.check()


async def test_a_reversal_takes_two_people_and_happens_once(office: Office) -> None:
    mistake = await office.credit(70_00)
    path = f"/ledger_transactions/{encode_id('ltx', mistake)}/reverse"
    status, answer = await office.call("POST", path, {"reason": REASON})
    assert (status, answer["code"]) == (409, "approval_needed")
    approval = await office.approval(mistake)
    status, answer = await office.call("POST", path, {"reason": "another", "approval_id": approval})
    assert (status, answer["code"]) == (409, "approval_mismatch")
    status, undone = await office.call("POST", path, {"reason": REASON, "approval_id": approval})
    assert (status, undone["kind"], undone["reverses"]) == (201, "reversal", encode_id("ltx", mistake))
    assert sorted(entry["amount"] for entry in undone["entries"]) == ["-70.00", "70.00"]
    again = {"reason": REASON, "approval_id": await office.approval(mistake)}
    status, answer = await office.call("POST", path, again)
    assert (status, answer["code"]) == (409, "already_reversed")
    assert await office.books.available(office.account) == 1_000_00
    told = "select count(*) from events where type = 'ledger_transaction.reversed'"
    assert await office.books.value(told) == 1


async def test_a_reversal_cannot_be_reversed_nor_can_a_fill(office: Office) -> None:
    mistake = await office.credit(70_00)
    path = f"/ledger_transactions/{encode_id('ltx', mistake)}/reverse"
    _, undone = await office.call("POST", path, {"reason": REASON, "approval_id": await office.approval(mistake)})
    fill = UUID(int=99)
    await office.books.settle(office.account, -5_00, 1, fill=fill)
    for shown in (undone["id"], encode_id("ltx", fill)):
        status, answer = await office.call("POST", f"/ledger_transactions/{shown}/reverse", {"reason": REASON})
        assert (status, answer["code"]) == (409, "not_reversible")


async def test_what_a_client_has_spent_is_not_taken_back(office: Office) -> None:
    mistake = await office.credit(70_00)
    await office.books.hold(UUID(int=5), office.account, 1_050_00)
    path = f"/ledger_transactions/{encode_id('ltx', mistake)}/reverse"
    approval = await office.approval(mistake)
    status, answer = await office.call("POST", path, {"reason": REASON, "approval_id": approval})
    assert (status, answer["code"]) == (409, "insufficient_funds")
    await office.books.void(UUID(int=5))
    status, _ = await office.call("POST", path, {"reason": REASON, "approval_id": approval})
    assert status == 201


async def test_transactions_are_listed_newest_first_of_all_or_of_one_account(office: Office) -> None:
    made = await office.credit(70_00)
    other = await office.books.open(5_00)
    status, page = await office.call("GET", f"/ledger_transactions?account_id={encode_id('acc', office.account)}")
    assert status == 200
    assert [row["kind"] for row in page["data"]] == ["funding", "funding"]
    assert page["data"][0]["id"] == encode_id("ltx", made)
    _, first = await office.call("GET", "/ledger_transactions?limit=2")
    assert (len(first["data"]), first["has_more"]) == (2, True)
    _, one = await office.call("GET", f"/ledger_transactions/{encode_id('ltx', made)}")
    assert one == page["data"][0]
    _, theirs = await office.call("GET", f"/ledger_transactions?account_id={encode_id('acc', other)}")
    assert len(theirs["data"]) == 1


async def test_a_break_is_taken_and_resolved_and_its_money_leaves_suspense(office: Office) -> None:
    async with office.books.tx() as tx:
        news = News("stray", Money(77_00, "USD"), final=True, paid=True)
        await hear(tx, "sandbox", None, news, now=NOW)
    _, page = await office.call("GET", "/breaks?status=open")
    (found,) = page["data"]
    assert (found["expected"], found["actual"], found["in_suspense"]) == ("0.00", "77.00", "77.00")
    assert found["age_days"] > 1_000 and found["owner_id"] is None
    status, taken = await office.call("POST", f"/breaks/{found['id']}/take")
    assert (status, taken["owner_id"]) == (200, encode_id("usr", office.maker.user_id))
    body = {"reason": "Asha's, by her bank's letter", "account_id": encode_id("acc", office.account)}
    status, ended = await office.call("POST", f"/breaks/{found['id']}/resolve", body)
    assert (status, ended["status"], ended["reason"]) == (200, "resolved", body["reason"])
    assert await office.books.available(office.account) == 1_077_00
    status, answer = await office.call("POST", f"/breaks/{found['id']}/resolve", body)
    assert (status, answer["code"]) == (409, "break_resolved")
    assert (await office.books.check())["USD"].suspense == 0


async def test_what_was_taken_back_from_suspense_becomes_nobodys(office: Office) -> None:
    await office.stray()
    await office.reverse(await office.posted("suspense:sandbox:stray"))
    status, answer = await office.allocate(office.account)
    assert (status, answer["code"], answer["param"]) == (409, "suspense_reversed", "account_id")
    assert "without account_id" in answer["detail"]
    assert (await office.suspense(), await office.books.available(office.account)) == (0, 1_000_00)
    assert (await office.found())["status"] == "open"
    status, ended = await office.allocate(None)
    assert (status, ended["status"]) == (200, "resolved")


async def test_an_allocation_that_is_undone_opens_its_break_for_another(office: Office) -> None:
    other = await office.books.open(5_00)
    found = await office.stray()
    await office.call("POST", f"/breaks/{found['id']}/take")
    key = f"break:{decode_id('brk', found['id'])}"
    for turn, account in enumerate((other, other, office.account), start=1):
        status, ended = await office.allocate(account)
        assert (status, ended["status"], await office.suspense()) == (200, "resolved", 0)
        if account == office.account:
            break
        await office.reverse(await office.posted(key if turn == 1 else f"{key}:{turn}"))
        again = await office.found()
        assert (again["status"], again["owner_id"], again["reason"], again["resolved_at"]) == ("open", None, None, None)
        assert again["opened_at"] > found["opened_at"]
        assert (again["in_suspense"], await office.suspense()) == ("77.00", 77_00)
    assert [await office.books.available(one) for one in (other, office.account)] == [5_00, 1_077_00]
    told = await office.books.call("select type, data from events where type like 'break.%' order by xid, id")
    assert [row["type"] for row in told] == ["break.opened", "break.resolved"] * 3
    assert told[0]["data"] == told[2]["data"]


async def test_what_was_allocated_may_be_taken_back_from_suspense_and_is_missing(office: Office) -> None:
    await office.stray()
    await office.allocate(office.account)
    await office.reverse(await office.posted("suspense:sandbox:stray"))
    async with office.books.tx() as tx:
        (row,) = await segregation(tx)
    assert (row.shortfall, row.segregated, (await office.found())["status"]) == (77_00, False, "resolved")
    await office.reverse(await office.posted(f"break:{decode_id('brk', (await office.found())['id'])}"))
    assert ((await office.found())["status"], await office.suspense()) == ("open", 0)
    status, answer = await office.allocate(office.account)
    assert (status, answer["code"]) == (409, "suspense_reversed")


async def test_of_an_allocation_and_its_reversal_at_once_no_money_is_made(office: Office) -> None:
    await office.stray()
    came = await office.posted("suspense:sandbox:stray")
    async with office.books.tx() as tx:  # the reversal is under way, and holds what it moves
        legs = (Leg(Slot(AccountKind.SUSPENSE, "USD"), -77_00), Leg(Slot(AccountKind.OMNIBUS_BANK, "USD"), 77_00))
        await post(tx, TransactionKind.REVERSAL, legs, idempotency_key=f"reversal:{came}", effective_at=NOW)
        allocating = asyncio.create_task(office.allocate(office.account))
        await asyncio.sleep(0.5)
        assert not allocating.done()
    status, answer = await allocating
    assert (status, answer["code"]) == (409, "suspense_reversed")
    assert (await office.suspense(), await office.books.available(office.account)) == (0, 1_000_00)


async def test_who_reads_only_resolves_nothing_and_sees_segregation(office: Office) -> None:
    reader = await make_person(office.database, office.books.tenant_id, Role.READ_ONLY)
    officer = await make_person(office.database, office.books.tenant_id, Role.COMPLIANCE_OFFICER)
    for who in (reader, officer):
        status, shown = await office.call("GET", "/segregation", who=who)
        assert status == 200
        (row,) = shown["data"]
        assert (row["segregated"], row["client_liabilities"], row["shortfall"]) == (True, "1000.00", "0.00")
    path = f"/breaks/{encode_id('brk', UUID(int=1))}/take"
    assert (await office.call("POST", path, who=reader))[0] == 403
    assert (await office.call("POST", path, who=officer))[0] == 404


async def test_one_clients_debit_is_not_covered_by_another_clients_money(office: Office) -> None:
    poor = await office.books.open(10_00)
    async with office.books.tx() as tx:
        assert all(row.segregated for row in await segregation(tx))
    await office.books.settle(poor, -25_00, 0)
    async with office.books.tx() as tx:
        (row,) = await segregation(tx)
    assert (row.client_debits, row.shortfall, row.segregated) == (15_00, 15_00, False)
    assert office.books.tenant_id in await unsegregated(office.database)


async def test_firm_money_that_was_moved_round_the_ledger_into_the_pool_is_found(
    office: Office, custody_server: tuple[str, dict[str, str]]
) -> None:
    await office.books.value("select ledger_open_firm('firm_bank', 'USD')")
    made = await office.credit(5_00)
    admin = await asyncpg.connect(custody_server[0].rsplit("/", 1)[0] + "/mandi")
    try:
        async with admin.transaction():
            await admin.execute("set local session_replication_role = replica")
            await admin.execute(
                "update ledger_entries e set ledger_account_id = f.id from ledger_accounts f, ledger_accounts b "
                "where e.tenant_id = $1 and e.transaction_id = $2 and b.id = e.ledger_account_id "
                "and b.kind = 'omnibus_bank' and f.tenant_id = $1 and f.kind = 'firm_bank'",
                office.books.tenant_id,
                made,
            )
        async with office.books.tx() as tx:
            (row,) = await segregation(tx)
        assert (row.mixed, row.segregated) == (1, False)
    finally:
        async with admin.transaction():
            await admin.execute("set local session_replication_role = replica")
            await admin.execute(
                "update ledger_entries e set ledger_account_id = b.id from ledger_accounts f, ledger_accounts b "
                "where e.tenant_id = $1 and e.transaction_id = $2 and f.id = e.ledger_account_id "
                "and f.kind = 'firm_bank' and b.tenant_id = $1 and b.kind = 'omnibus_bank'",
                office.books.tenant_id,
                made,
            )
        await admin.close()


async def test_a_transaction_by_hand_can_be_undone_too(office: Office) -> None:
    legs = (Leg(client_cash(office.account, "USD"), 3_00), Leg(Slot(AccountKind.SUSPENSE, "USD"), -3_00))
    async with office.books.tx() as tx:
        made = await post(tx, TransactionKind.ADJUSTMENT, legs, idempotency_key="a", effective_at=NOW)
    path = f"/ledger_transactions/{encode_id('ltx', made)}/reverse"
    _, undone = await office.call("POST", path, {"reason": REASON, "approval_id": await office.approval(made)})
    assert decode_id("ltx", undone["id"]) != made
    assert await office.books.available(office.account) == 1_000_00
