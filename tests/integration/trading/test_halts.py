"""The kill switch: what it stops and lets pass, at every level, that it lasts, and that nothing slips past it."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from app.kernel.errors import DomainError
from app.kernel.orders import Mode, OrderStatus, OrderType, Side
from app.platform.tenancy.domain import Role
from app.platform.tenancy.service import create_tenant
from app.trading.brokers.ports import Accepted
from app.trading.orders.service import TenantOrders, halt_everything, resume_everything
from app.trading.orders.service.executing import submit
from app.trading.risk.domain import Halt, HaltMode, Target
from app.trading.risk.service import halt, resume
from tests.factories.members import make_person
from tests.integration.trading.conftest import PRICE, Venue
from tests.integration.trading.scripted import Scripted, item


async def halted(venue: Venue, target: Target, mode: HaltMode = HaltMode.HALT) -> Halt:
    async with venue.app.database.tx(venue.tenant_id) as tx:
        return await halt(tx, target, mode=mode, reason="a test", working=TenantOrders(), now=datetime.now(UTC))


async def lifted(venue: Venue, halt_id: UUID) -> None:
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await resume(tx, halt_id, approval_id=None, now=datetime.now(UTC))


async def _holding(venue: Venue, quantity: int = 10) -> None:
    """The account holds so many."""
    await venue.order(quantity=quantity)
    await venue.work()
    await venue.show(PRICE)


async def deployed(venue: Venue) -> UUID:
    deployment_id, strategy_id = uuid4(), uuid4()
    async with venue.app.database.tx(venue.tenant_id) as tx:
        strategy = text("insert into strategies (tenant_id, id, name, parameters, document, digest, created_at) "
                        "values (:t, :s, 's', '{}', '{}', 'd', now())")  # fmt: skip
        await tx.execute(strategy, {"t": venue.tenant_id, "s": strategy_id})
        deployment = text(
            "insert into deployments (tenant_id, id, strategy_id, account_id, digest, feed, bar_interval, instruments, "
            "status, failures, first_bar, last_bar) "
            "values (:t, :d, :s, :a, 'd', 'f', '1d', '{}', 'paused', 0, now(), now())"
        )
        where = {"t": venue.tenant_id, "d": deployment_id, "s": strategy_id, "a": venue.account_id}
        await tx.execute(deployment, where)
    return deployment_id


LEVELS = ("tenant", "account", "deployment", "algo")


async def _target(venue: Venue, level: str) -> tuple[Target, dict[str, Any]]:
    """What a level names, and the fields of an order that it stops."""
    if level == "tenant":
        return Target(), {}
    if level == "account":
        return Target(account_id=venue.account_id), {}
    if level == "algo":
        return Target(algo_id="NSE-1"), {"algo_id": "NSE-1"}
    deployment_id = await deployed(venue)
    return Target(deployment_id=deployment_id), {"deployment_id": deployment_id}


@pytest.mark.parametrize("mode", HaltMode)
@pytest.mark.parametrize("level", LEVELS)
async def test_a_halt_denies_entries_until_it_is_lifted(venue: Venue, level: str, mode: HaltMode) -> None:
    target, fields = await _target(venue, level)
    made = await halted(venue, target, mode)
    denied = await venue.order(**fields)
    assert [(r.rule, r.value) for r in denied.reasons] == [("halt", mode.value)]
    assert level in denied.reasons[0].message and "a test" in denied.reasons[0].message
    await lifted(venue, made.id)
    assert (await venue.order(**fields)).status is OrderStatus.ACCEPTED


@pytest.mark.parametrize("target", [Target(algo_id="NSE-2"), Target(deployment_id=UUID(int=1))])
async def test_a_halt_of_something_else_stops_nothing(venue: Venue, target: Target) -> None:
    if target.deployment_id is not None:
        target = Target(deployment_id=await deployed(venue))
    await halted(venue, target)
    assert (await venue.order(algo_id="NSE-1")).status is OrderStatus.ACCEPTED
    assert (await venue.order()).status is OrderStatus.ACCEPTED


@pytest.mark.parametrize("level", LEVELS)
async def test_what_was_accepted_and_is_not_on_the_wire_is_not_sent(venue: Venue, level: str) -> None:
    target, fields = await _target(venue, level)
    placed = await venue.order(**fields)
    await halted(venue, target, HaltMode.REDUCE_ONLY)
    script = Scripted([])
    await submit(venue.desk(script), item(venue, placed.id))
    assert (script.asked, await venue.status(placed.id)) == ([], "cancelled")
    await venue.is_sound()


async def test_exits_and_cancels_pass(venue: Venue) -> None:
    await _holding(venue)
    working = await venue.order(order_type=OrderType.LIMIT, limit_price=PRICE // 2)
    await venue.work()
    await halted(venue, Target(), HaltMode.REDUCE_ONLY)
    exit_ = await venue.order(side=Side.SELL)
    assert exit_.status is OrderStatus.ACCEPTED
    async with venue.app.database.tx(venue.tenant_id) as tx:
        tx.work("execution", "order.cancel", venue.account_id, {"order_id": str(working.id)}, priority=0)
    await venue.work()
    assert await venue.status(working.id) == "cancelled"
    await venue.show(PRICE)
    assert await venue.status(exit_.id) == "filled"
    await venue.is_sound()


@pytest.mark.parametrize(("mode", "status"), [(HaltMode.HALT, "cancelled"), (HaltMode.REDUCE_ONLY, "open")])
async def test_only_a_full_halt_takes_back_the_entries_that_work_and_never_an_exit(
    venue: Venue, mode: HaltMode, status: str
) -> None:
    await _holding(venue)
    entry = await venue.order(order_type=OrderType.LIMIT, limit_price=PRICE // 2)
    exit_ = await venue.order(side=Side.SELL, order_type=OrderType.LIMIT, limit_price=PRICE * 11 // 10)
    await venue.work()
    assert await venue.status(entry.id) == "open"
    await halted(venue, Target(account_id=venue.account_id), mode)
    await venue.work()
    assert (await venue.status(entry.id), await venue.status(exit_.id)) == (status, "open")


async def test_the_platform_stops_every_tenant_or_one_algo_and_says_so(venue: Venue) -> None:
    database, now = venue.app.database, datetime.now(UTC)
    algo = f"A{uuid4().hex[:8]}"  # of this test alone: others trade meanwhile
    made = await halt_everything(database, algo_id=algo, mode=HaltMode.HALT, reason="the exchange asked", now=now)
    assert [r.rule for r in (await venue.order(algo_id=algo)).reasons] == ["halt"]
    assert (await venue.order()).status is OrderStatus.ACCEPTED
    await resume_everything(database, made, now=now)
    assert (await venue.order(algo_id=algo)).status is OrderStatus.ACCEPTED
    told = await venue.rows("select type, data from events where subject_id = :id order by id", id=made)
    assert [one["type"] for one in told] == ["risk.halted", "risk.resumed"]
    assert (told[0]["data"]["level"], told[0]["data"]["algo_id"]) == ("platform", algo)
    with pytest.raises(DomainError) as caught:
        await resume_everything(database, made, now=now)
    assert caught.value.code == "halt_not_found"


async def test_what_the_platform_halts_is_not_sent_although_it_was_accepted(venue: Venue) -> None:
    algo = f"A{uuid4().hex[:8]}"
    placed = await venue.order(algo_id=algo)
    database = venue.app.database
    await halt_everything(
        database, algo_id=algo, mode=HaltMode.REDUCE_ONLY, reason="the exchange asked", now=datetime.now(UTC)
    )
    script = Scripted([])
    await submit(venue.desk(script), item(venue, placed.id))
    assert (script.asked, await venue.status(placed.id)) == ([], "cancelled")


async def _sent(venue: Venue) -> set[UUID]:
    return {row["id"] for row in await venue.rows("select id from orders where status in ('submitting', 'open')")}


@pytest.mark.parametrize("level", ["tenant", "account", "algo", "platform"])
async def test_nothing_is_begun_after_the_switch_has_answered_however_50_orders_race(venue: Venue, level: str) -> None:
    algo = f"A{uuid4().hex[:8]}"
    waiting = [(await venue.order(quantity=1, algo_id=algo)).id for _ in range(50)]
    some_sent, at_the_answer = asyncio.Event(), set[UUID]()

    async def send() -> None:
        while waiting:
            order_id = waiting.pop()
            await submit(venue.desk(Scripted([Accepted("V")])), item(venue, order_id))
            if len(waiting) <= 40:
                some_sent.set()

    async def pull() -> None:
        await some_sent.wait()
        if level == "platform":
            await halt_everything(
                venue.app.database, algo_id=algo, mode=HaltMode.REDUCE_ONLY, reason="race", now=datetime.now(UTC)
            )
        else:
            target = {"tenant": Target(), "account": Target(account_id=venue.account_id), "algo": Target(algo_id=algo)}
            await halted(venue, target[level], HaltMode.REDUCE_ONLY)
        at_the_answer.update(await _sent(venue))

    await asyncio.gather(pull(), *(send() for _ in range(6)))
    stopped = await venue.rows("select 1 from orders where status = 'cancelled' and status_reason = 'halted'")
    assert await _sent(venue) == at_the_answer
    assert len(at_the_answer) + len(stopped) == 50
    assert at_the_answer and stopped
    await venue.is_sound()


async def waiting(venue: Venue) -> None:
    """Until somebody waits for a lock in this database."""
    blocked = (
        "select exists (select 1 from pg_locks l join pg_stat_activity a using (pid) "
        "where not l.granted and a.datname = current_database())"
    )
    while not await venue.app.database.dispatch.fetchval(blocked):
        await asyncio.sleep(0.01)


async def test_a_halt_waits_for_a_send_that_has_begun_and_the_next_send_sees_it(venue: Venue) -> None:
    first, second = await venue.order(), await venue.order()
    pool = venue.app.database.pool
    async with pool.acquire() as connection:
        sending = connection.transaction()
        await sending.start()
        await connection.fetchval("select orders_begin($1, $2, 1)", venue.tenant_id, first.id)
        pulling = asyncio.create_task(halted(venue, Target()))
        await waiting(venue)
        assert not pulling.done(), "the switch must not answer while a send is being begun"
        await sending.commit()
    await pulling
    script = Scripted([])
    await submit(venue.desk(script), item(venue, second.id))
    assert script.asked == []
    assert await venue.status(first.id) == "submitting"


async def test_the_platforms_halt_waits_for_a_send_that_has_begun(venue: Venue) -> None:
    algo = f"A{uuid4().hex[:8]}"
    first = await venue.order(algo_id=algo)
    async with venue.app.database.pool.acquire() as connection:
        sending = connection.transaction()
        await sending.start()
        await connection.fetchval("select orders_begin($1, $2, 1)", venue.tenant_id, first.id)
        everything = halt_everything(
            venue.app.database, algo_id=algo, mode=HaltMode.REDUCE_ONLY, reason="race", now=datetime.now(UTC)
        )
        pulling = asyncio.create_task(everything)
        await waiting(venue)
        assert not pulling.done()
        await sending.commit()
    await pulling


async def test_an_order_that_was_decided_before_a_halt_is_decided_again(venue: Venue) -> None:
    before = (await venue.rows("select version from accounts"))[0]["version"]
    await halted(venue, Target(algo_id="X"))
    assert (await venue.rows("select version from accounts"))[0]["version"] == before + 1


async def test_nobody_halts_a_deployment_that_is_not_there(venue: Venue) -> None:
    with pytest.raises(DomainError) as caught:
        await halted(venue, Target(deployment_id=uuid4()))
    assert caught.value.code == "deployment_not_found"
    with pytest.raises(DomainError) as caught:
        await halted(venue, Target(account_id=uuid4()))
    assert caught.value.code == "account_not_found"


async def test_a_halt_of_another_tenant_stops_nothing_here(venue: Venue) -> None:
    other = await create_tenant(venue.app.database, slug=f"t{uuid4().hex[:12]}", name="O")
    async with venue.app.database.tx(other) as tx:
        await halt(tx, Target(), mode=HaltMode.HALT, reason="x", working=TenantOrders(), now=datetime.now(UTC))
    assert (await venue.order()).status is OrderStatus.ACCEPTED


async def test_lifting_takes_a_recent_login_and_for_live_accounts_a_second_person(venue: Venue) -> None:
    database = venue.app.database
    person = await make_person(database, venue.tenant_id, Role.OWNER)

    async def tried(halt_id: UUID, who: Any) -> str:
        try:
            async with database.tx(venue.tenant_id, who) as tx:
                await resume(tx, halt_id, approval_id=None, now=datetime.now(UTC))
        except DomainError as error:
            return error.code
        return "lifted"

    async with database.tx(venue.tenant_id, person.principal) as tx:
        made = await halt(tx, Target(), mode=HaltMode.HALT, reason="x", working=TenantOrders(), now=datetime.now(UTC))
    assert (made.account_mode, made.halted_by) == (Mode.TEST.value, person.user_id)
    assert await tried(made.id, person.principal) == "login_needed"
    assert await tried(made.id, person.present) == "lifted"
    assert await tried(made.id, person.present) == "halt_lifted"
    of_both = await halted(venue, Target())
    assert await tried(of_both.id, person.present) == "approval_needed"
