"""Deposits and withdrawals against a provider that fails in every way."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import UUID

import pytest
import pytest_asyncio

from app.bootstrap import App
from app.custody.funding.domain import Direction, Meaning, News
from app.custody.funding.ports import Refused, Unknown
from app.custody.funding.service import get_payment, hear, request_deposit, request_withdrawal
from app.custody.funding.service.carrying import carry
from app.custody.funding.tables import Payment
from app.custody.ledger.service import TenantAccounts, balances
from app.infra.database import Tx
from app.kernel.errors import DomainError
from app.kernel.ids import encode_id, uuid7
from app.kernel.money import Money
from app.platform.tenancy.domain import Action
from app.platform.tenancy.service import approve, create_tenant, propose
from app.trading.risk.service import TenantHalts
from tests.factories.members import Person, make_person
from tests.factories.payments import FakeProvider
from tests.integration.custody.conftest import Books

pytestmark = pytest.mark.asyncio


@dataclass
class Desk:
    """One account of 1,000.00, a provider, and steps of the worker."""

    app: App
    books: Books
    account: UUID
    provider: FakeProvider = field(default_factory=FakeProvider)

    async def deposit(self, amount: str = "250.00") -> UUID:
        async with self.books.tx() as tx:
            return (await request_deposit(tx, self.account, amount, now=self.app.clock())).id

    async def withdrawal(self, amount: str = "250.00") -> UUID:
        async with self.books.tx() as tx:
            row = await request_withdrawal(tx, self.account, amount, approval_id=None, now=self.app.clock())
            return row.id

    async def carry(self, payment: UUID, times: int = 1) -> bool:
        done = False
        for _ in range(times):
            done = await carry(self.app, self.provider, self.books.tenant_id, payment)
        return done

    async def hear(self, payment: UUID | None, news: News) -> Meaning:
        async with self.books.tx() as tx:
            return await hear(tx, "sandbox", payment, news, now=self.app.clock())

    async def row(self, payment: UUID) -> Payment:
        async with self.books.tx() as tx:
            found = await tx.get(Payment, payment)
            assert found is not None
            return found

    async def money(self) -> tuple[int, int]:
        """Settled cash, and what may be withdrawn."""
        async with self.books.tx() as tx:
            (shown,) = await balances(tx, self.account)
        return shown.settled, shown.withdrawable

    async def breaks(self) -> list[tuple[str, int, int, int]]:
        rows = await self.books.call(
            "select kind, expected_minor, actual_minor, suspense_minor from ledger_breaks order by id"
        )
        return [tuple(row) for row in rows]

    async def suspense(self) -> int:
        return (await self.books.check())["USD"].suspense


@pytest_asyncio.fixture
async def desk(app: App) -> AsyncIterator[Desk]:
    tenant_id = await create_tenant(app.database, slug=f"t{uuid7().hex[-12:]}", name="T")
    books = Books(app.database, tenant_id)
    yield Desk(app, books, await books.open(1_000_00))
    await books.check()


async def test_a_deposit_is_in_the_account_once_the_provider_has_it_and_no_sooner(desk: Desk) -> None:
    payment = await desk.deposit()
    assert await desk.money() == (1_000_00, 1_000_00)
    assert not await desk.carry(payment, times=3)
    assert ((await desk.row(payment)).status, await desk.money()) == ("sent", (1_000_00, 1_000_00))
    desk.provider.paid(payment, 250_00)
    assert await desk.carry(payment, times=2)
    assert (await desk.row(payment)).status == "completed"
    assert await desk.money() == (1_250_00, 1_250_00)
    assert desk.provider.told == [payment]
    assert await desk.breaks() == []


async def test_a_withdrawal_is_held_while_it_is_pending_and_leaves_when_paid(desk: Desk) -> None:
    payment = await desk.withdrawal()
    assert await desk.money() == (1_000_00, 750_00)
    await desk.carry(payment)
    assert await desk.money() == (1_000_00, 750_00)
    desk.provider.paid(payment, 250_00)
    assert await desk.carry(payment)
    assert await desk.money() == (750_00, 750_00)


async def test_only_settled_money_that_nothing_holds_is_withdrawn(desk: Desk) -> None:
    await desk.books.settle(desk.account, 500_00, 0)
    await desk.books.hold(UUID(int=7), desk.account, 100_00)
    with pytest.raises(DomainError) as caught:
        await desk.withdrawal("900.01")
    assert caught.value.code == "insufficient_funds"
    await desk.withdrawal("900.00")
    assert await desk.money() == (1_000_00, 0)


async def test_a_refused_withdrawal_is_available_again(desk: Desk) -> None:
    payment = await desk.withdrawal()
    desk.provider.answer = Refused("the bank account is closed")
    assert await desk.carry(payment)
    row = await desk.row(payment)
    assert (row.status, row.reason) == ("failed", "the bank account is closed")
    assert await desk.money() == (1_000_00, 1_000_00)


@pytest.mark.parametrize("answer", [TimeoutError(), ConnectionResetError(), Unknown("502")])
async def test_after_an_answer_that_was_lost_the_provider_is_asked_and_not_told_again_at_once(
    desk: Desk, answer: Exception | Unknown
) -> None:
    payment = await desk.withdrawal()
    desk.provider.answer = answer
    assert not await desk.carry(payment, times=5)
    assert (desk.provider.told, desk.provider.asked) == ([payment], 4)
    assert await desk.money() == (1_000_00, 750_00)
    desk.provider.paid(payment, 250_00)
    assert await desk.carry(payment)
    assert await desk.money() == (750_00, 750_00)


async def test_news_that_comes_twice_posts_once(desk: Desk) -> None:
    for payment, after in ((await desk.deposit(), 1_250_00), (await desk.withdrawal(), 1_000_00)):
        news = desk.provider.paid(payment, 250_00)
        assert [await desk.hear(payment, news) for _ in range(3)] == [
            Meaning.COMPLETE,
            Meaning.NOTHING,
            Meaning.NOTHING,
        ]
        assert (await desk.money())[0] == after
    assert await desk.breaks() == []


async def test_a_second_payment_for_one_deposit_goes_to_suspense(desk: Desk) -> None:
    payment = await desk.deposit()
    await desk.hear(payment, desk.provider.paid(payment, 250_00))
    again = desk.provider.paid(payment, 250_00, reference="another")
    assert [await desk.hear(payment, again) for _ in range(2)] == [Meaning.SUSPEND] * 2
    assert (await desk.money(), await desk.suspense()) == ((1_250_00, 1_250_00), 250_00)
    assert await desk.breaks() == [("unexpected", 0, 250_00, 250_00)]


async def test_another_amount_than_was_asked_for_waits_in_suspense(desk: Desk) -> None:
    payment = await desk.deposit()
    news = desk.provider.paid(payment, 25_00)
    assert [await desk.hear(payment, news) for _ in range(2)] == [Meaning.SUSPEND, Meaning.NOTHING]
    assert ((await desk.row(payment)).status, await desk.money()) == ("disputed", (1_000_00, 1_000_00))
    assert await desk.suspense() == 25_00
    assert await desk.breaks() == [("wrong_amount", 250_00, 25_00, 25_00)]


@pytest.mark.parametrize(("paid", "settled", "suspense"), [(200_00, 800_00, 0), (300_00, 750_00, -50_00)])
async def test_a_withdrawal_paid_in_another_amount_takes_no_more_than_was_asked(
    desk: Desk, paid: int, settled: int, suspense: int
) -> None:
    payment = await desk.withdrawal()
    await desk.hear(payment, desk.provider.paid(payment, paid))
    assert (await desk.money(), await desk.suspense()) == ((settled, settled), suspense)
    assert await desk.breaks() == [("wrong_amount", -250_00, -paid, suspense)]


async def test_money_that_comes_after_its_deposit_failed_waits_in_suspense(desk: Desk) -> None:
    payment = await desk.deposit()
    failed = News("r", Money(250_00, "USD"), final=True, paid=False, reason="no funds")
    assert await desk.hear(payment, failed) is Meaning.FAIL
    assert await desk.hear(payment, desk.provider.paid(payment, 250_00)) is Meaning.SUSPEND
    assert ((await desk.row(payment)).status, await desk.suspense()) == ("failed", 250_00)
    assert await desk.breaks() == [("unexpected", 0, 250_00, 250_00)]


async def test_money_that_nobody_asked_for_waits_in_suspense(desk: Desk) -> None:
    news = News("stray", Money(77_00, "USD"), final=True, paid=True)
    assert [await desk.hear(None, news) for _ in range(2)] == [Meaning.SUSPEND] * 2
    assert await desk.suspense() == 77_00
    assert await desk.breaks() == [("unidentified", 0, 77_00, 77_00)]


async def test_a_payment_of_which_nothing_is_heard_opens_one_break_and_stays_open(desk: Desk) -> None:
    payment = await desk.withdrawal()
    await desk.carry(payment)
    assert await desk.breaks() == []
    later = desk.app.clock() + timedelta(hours=25)
    app = replace(desk.app, clock=lambda: later)
    for _ in range(3):
        assert not await carry(app, desk.provider, desk.books.tenant_id, payment)
    assert await desk.breaks() == [("overdue", -250_00, 0, 0)]
    assert desk.provider.told == [payment]
    assert ((await desk.row(payment)).status, await desk.money()) == ("sent", (1_000_00, 750_00))


class Killed(BaseException):
    """The worker is no more."""


async def _later(desk: Desk, payment: UUID, *minutes: float) -> list[int]:
    """A step of the worker so long after now, each; how often the provider has been told after it."""
    told, start = [], desk.app.clock()
    for passed in minutes:
        app = replace(desk.app, clock=lambda at=start + timedelta(minutes=passed): at)  # type: ignore[misc]
        assert not await carry(app, desk.provider, desk.books.tenant_id, payment)
        told.append(desk.provider.told.count(payment))
    return told


async def test_a_payment_whose_worker_died_before_the_call_is_sent_once_more_and_ends(desk: Desk) -> None:
    payment = await desk.withdrawal()
    desk.provider.answer = Killed()
    with pytest.raises(Killed):
        await desk.carry(payment)
    desk.provider.told.clear()
    desk.provider.answer = None
    assert (await desk.row(payment)).status == "sent"
    assert await _later(desk, payment, 0.1, 1.9, 3.1, 3.2, 7, 60) == [0, 0, 1, 1, 1, 1]
    desk.provider.paid(payment, 250_00)
    assert await desk.carry(payment)
    assert ((await desk.row(payment)).status, await desk.money()) == ("completed", (750_00, 750_00))


async def test_a_provider_whose_answers_are_lost_is_told_again_every_few_minutes_at_most(desk: Desk) -> None:
    payment = await desk.withdrawal()
    desk.provider.answer = TimeoutError()
    await desk.carry(payment)
    assert await _later(desk, payment, 1, 3.1, 3.2, 5, 6.2, 6.3) == [1, 2, 2, 2, 3, 3]
    desk.provider.answer = Refused("the bank account is closed")
    later = desk.app.clock() + timedelta(minutes=10)
    assert await carry(replace(desk.app, clock=lambda: later), desk.provider, desk.books.tenant_id, payment)
    assert ((await desk.row(payment)).status, await desk.money()) == ("failed", (1_000_00, 1_000_00))


async def test_a_provider_that_has_it_or_cannot_be_asked_is_not_told_again(desk: Desk) -> None:
    payment = await desk.withdrawal()
    desk.provider.answer = TimeoutError()
    await desk.carry(payment)
    under_way = News("r", Money(250_00, "USD"), final=False, paid=False)
    for news in (under_way, TimeoutError(), ConnectionResetError()):
        desk.provider.news = news
        assert await _later(desk, payment, 10) == [1]
    desk.provider.paid(payment, 250_00)
    assert await desk.carry(payment)
    assert (desk.provider.told, await desk.money()) == ([payment], (750_00, 750_00))


async def _person(desk: Desk) -> Person:
    return await make_person(desk.app.database, desk.books.tenant_id)


async def test_a_large_withdrawal_takes_two_people_and_is_held_once(desk: Desk) -> None:
    account = await desk.books.open(5_000_00)
    maker, checker = await _person(desk), await _person(desk)
    payload = {"account_id": encode_id("acc", account), "amount": "1000.01"}

    async def ask(tx: Tx, approval: UUID | None, amount: str = "1000.01") -> None:
        await request_withdrawal(tx, account, amount, approval_id=approval, now=desk.app.clock())

    async def refusal(approval: UUID | None, amount: str = "1000.01") -> str:
        with pytest.raises(DomainError) as caught:
            async with desk.app.database.tx(desk.books.tenant_id, maker.present) as tx:
                await ask(tx, approval, amount)
        return caught.value.code

    assert await refusal(None) == "approval_needed"
    async with desk.app.database.tx(desk.books.tenant_id, maker.present) as tx:
        await ask(tx, None, "1000.00")
        proposal = await propose(
            tx, Action.WITHDRAW, payload, accounts=TenantAccounts(), halts=TenantHalts(), now=desk.app.clock()
        )
    assert await refusal(proposal.id) == "approval_not_granted"
    async with desk.app.database.tx(desk.books.tenant_id, checker.present) as tx:
        await approve(tx, proposal.id, now=desk.app.clock())
    assert await refusal(proposal.id, "1000.02") == "approval_mismatch"
    async with desk.app.database.tx(desk.books.tenant_id, maker.present) as tx:
        await ask(tx, proposal.id)
    assert await refusal(proposal.id) == "approval_not_granted"
    held = "select pending_out from ledger_accounts where account_id = $1 and kind = 'client_cash'"
    assert await desk.books.value(held, account) == 2_000_01


async def test_a_deposit_is_no_withdrawal_and_another_tenants_is_not_found(desk: Desk) -> None:
    payment = await desk.deposit()
    async with desk.books.tx() as tx:
        assert (await get_payment(tx, Direction.DEPOSIT, payment)).id == payment
        with pytest.raises(DomainError, match="No withdrawal"):
            await get_payment(tx, Direction.WITHDRAWAL, payment)
    other = await create_tenant(desk.app.database, slug=f"o{uuid7().hex[-12:]}", name="O")
    async with desk.app.database.tx(other) as tx:
        with pytest.raises(DomainError, match="No deposit"):
            await get_payment(tx, Direction.DEPOSIT, payment)
