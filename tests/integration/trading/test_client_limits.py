"""A limit of a client holds over all of its accounts together, whichever of them orders, and however many at once."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from app.custody.accounts.domain import NewAccount
from app.custody.accounts.service import create_account, create_client
from app.custody.ledger.service import Books
from app.kernel.errors import DomainError
from app.kernel.money import Money
from app.kernel.orders import OrderClass, OrderType, Product, Side, Validity
from app.trading.orders.service import PlacedOrder, PlaceOrder, preview_order, suppose_orders
from app.trading.risk.service import client_scope, set_limit
from tests.integration.trading.conftest import AT, PRICE, Venue
from tests.integration.trading.groups import STOP, bracket
from tests.integration.trading.test_slices import frozen as frozen

RESTING: dict[str, Any] = {"order_type": OrderType.LIMIT, "limit_price": PRICE}


async def _account(venue: Venue, client_id: UUID | None) -> Venue:
    async with venue.app.database.tx(venue.tenant_id) as tx:
        asked = NewAccount(
            name="a", currency="USD", opening_balance=Money(1_000_000, "USD"), feed=venue.feed, slippage_bps=0
        )
        account = await create_account(tx, asked, books=Books(), now=AT, client_id=client_id)
    return replace(venue, account_id=account.id, sent=venue.sent)


@pytest_asyncio.fixture
async def client_id(venue: Venue) -> UUID:
    async with venue.app.database.tx(venue.tenant_id) as tx:
        return (await create_client(tx, external_ref=uuid4().hex, name="C")).id


@pytest_asyncio.fixture
async def two(venue: Venue, client_id: UUID) -> tuple[Venue, Venue]:
    """Two accounts of one client."""
    return await _account(venue, client_id), await _account(venue, client_id)


async def _limit(venue: Venue, client_id: UUID, rule: str, limit: Any) -> None:
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await set_limit(tx, await client_scope(tx, client_id), rule, {"limit": limit})


def _denied_by(placed: PlacedOrder) -> list[str]:
    return [reason.rule for reason in placed.reasons]


async def test_the_position_counts_what_every_account_holds_and_has_open(
    two: tuple[Venue, Venue], client_id: UUID
) -> None:
    one, other = two
    await _limit(one, client_id, "max_position", "400.00")  # 20 at 20.00
    await one.order(quantity=8)
    await one.work()
    await one.show(PRICE)
    assert _denied_by(await other.order(**RESTING, quantity=7)) == []
    denied = await one.order(quantity=6)
    assert _denied_by(denied) == ["max_position"]
    (reason,) = denied.reasons
    assert (reason.limit, reason.value) == ("400.00", "420.00")
    assert "all accounts of the client" in reason.message
    assert _denied_by(await other.order(**RESTING, quantity=5)) == []


@pytest.mark.parametrize("order", [{"quantity": 40}, {"quantity": 40, "order_class": OrderClass.ICEBERG, "slices": 3}])
async def test_an_order_in_slices_counts_once(
    frozen: Venue, two: tuple[Venue, Venue], client_id: UUID, order: dict[str, Any]
) -> None:
    one, other = (replace(venue, instrument_id=frozen.instrument_id, feed=frozen.feed) for venue in two)
    await _limit(one, client_id, "max_position", "1000.00")  # 50 at 20.00
    assert _denied_by(await one.order(**RESTING, **order)) == []
    assert _denied_by(await other.order(**RESTING, quantity=5)) == []
    denied = await other.order(**RESTING, quantity=10)
    assert [(reason.rule, reason.value) for reason in denied.reasons] == [("max_position", "1100.00")]


async def test_of_two_exits_that_end_each_other_one_counts(two: tuple[Venue, Venue], client_id: UUID) -> None:
    one, other = two
    await one.order(quantity=20)
    await one.work()
    await one.show(PRICE)
    await _limit(one, client_id, "max_open_orders", 2)
    pair = await bracket(one, side=Side.SELL, order_class=OrderClass.OCO, limit_price=PRICE + 1_000, exits=(STOP,))
    assert _denied_by(pair) == []
    assert _denied_by(await other.order(**RESTING, quantity=1)) == []
    assert _denied_by(await other.order(**RESTING, quantity=1)) == ["max_open_orders"]


async def test_open_orders_count_together(two: tuple[Venue, Venue], client_id: UUID) -> None:
    one, other = two
    await _limit(one, client_id, "max_open_orders", 3)
    assert [_denied_by(await venue.order(**RESTING, quantity=1)) for venue in (one, other, one)] == [[], [], []]
    assert _denied_by(await other.order(**RESTING, quantity=1)) == ["max_open_orders"]


async def test_a_day_of_losses_counts_together_from_the_clients_first_decision(
    two: tuple[Venue, Venue], client_id: UUID
) -> None:
    one, other = two
    for venue in two:
        await venue.order(quantity=10)
        await venue.work()
        await venue.show(PRICE)
    await _limit(one, client_id, "max_daily_loss", "30.00")
    assert _denied_by(await one.order(quantity=1)) == []
    feed = "update last_prices set price = $2 where feed = $1"
    await one.app.database.reference.execute(feed, one.feed, PRICE - 20_000)  # each has lost about 20.00
    denied = await one.order(quantity=1)
    assert _denied_by(denied) == ["max_daily_loss"]
    assert _denied_by(await other.order(side=Side.SELL, quantity=5)) == []


async def test_an_account_that_has_not_decided_today_loses_too(two: tuple[Venue, Venue], client_id: UUID) -> None:
    one, other = two
    await other.order(quantity=20)
    await other.work()
    await other.show(PRICE)
    tomorrow = "update feed_state set market_at = '2003-01-06T15:00:00Z' where feed = $1"
    await one.app.database.reference.execute(tomorrow, one.feed)
    await _limit(one, client_id, "max_daily_loss", "30.00")
    assert _denied_by(await one.order(**RESTING, quantity=1)) == []  # the client's day begins, for both
    await one.app.database.reference.execute(
        "update last_prices set price = $2 where feed = $1", one.feed, PRICE - 20_000
    )
    assert _denied_by(await one.order(**RESTING, quantity=1)) == ["max_daily_loss"]


async def test_accounts_of_others_count_for_nothing(venue: Venue, two: tuple[Venue, Venue], client_id: UUID) -> None:
    one, _ = two
    await _limit(one, client_id, "max_open_orders", 1)
    async with venue.app.database.tx(venue.tenant_id) as tx:
        another = await create_client(tx, external_ref=uuid4().hex, name="D")
    stranger = await _account(venue, another.id)
    for other in (venue, stranger):
        for _ in range(2):
            assert _denied_by(await other.order(**RESTING, quantity=1)) == []
    assert _denied_by(await one.order(**RESTING, quantity=1)) == []


async def test_what_if_counts_the_other_account_and_the_orders_before(
    two: tuple[Venue, Venue], client_id: UUID
) -> None:
    one, other = two
    await _limit(one, client_id, "max_open_orders", 2)
    await other.order(**RESTING, quantity=1)
    asked = [
        PlaceOrder(
            account_id=one.account_id,
            instrument_id=one.instrument_id,
            side=Side.BUY,
            order_type=OrderType.LIMIT,
            quantity=1,
            limit_price=PRICE,
            product=Product.DELIVERY,
            validity=Validity.DAY,
            client_order_id=uuid4().hex,
        )
        for _ in range(2)
    ]
    async with one.app.database.tx(one.tenant_id) as tx:
        assert (await preview_order(tx, asked[0])).decision.reasons == []
        first, second = await suppose_orders(tx, asked)
    assert first.preview.decision.reasons == []
    assert [reason.rule for reason in second.preview.decision.reasons] == ["max_open_orders"]


@pytest.mark.parametrize("apart", [False, True])
async def test_fifty_orders_of_two_accounts_at_once_never_exceed_the_clients_limit(
    two: tuple[Venue, Venue], client_id: UUID, apart: bool
) -> None:
    one, _ = two
    await _limit(one, client_id, "max_position", "400.00")

    async def order(venue: Venue) -> PlacedOrder | None:
        try:
            return await venue.order(**RESTING, quantity=2, apart=apart)
        except DomainError as error:
            assert error.code == "account_busy"
            return None

    first = [await order(venue) for venue in two]  # in the race one of them may win every time
    placed = first + await asyncio.gather(*(order(two[turn % 2]) for turn in range(48)))
    passed = [one for one in placed if one is not None and not one.reasons]
    assert len(passed) <= 10
    assert apart or None not in placed  # of one process they take turns
    while len(passed) < 10:  # those that never had a quiet moment
        again = await order(two[len(passed) % 2])
        assert again is not None and not again.reasons
        passed.append(again)
    assert _denied_by(await two[0].order(**RESTING, quantity=2)) == ["max_position"]
    held = await one.rows(
        "select sum(quantity)::bigint as n, count(distinct account_id) as accounts from orders "
        "where status = 'accepted'"
    )
    assert held == [{"n": 20, "accounts": 2}]
    await one.is_sound()


async def test_a_fill_of_the_other_account_between_reading_and_writing_makes_the_decision_anew(
    two: tuple[Venue, Venue], client_id: UUID
) -> None:
    one, other = two
    await _limit(one, client_id, "max_position", "400.00")
    pool = one.app.database.pool
    state = "select orders_client($1, 'test', 'USD', $2, '2003-01-03')::text"
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("select set_config('app.tenant_id', $1, true)", str(one.tenant_id))
        read = await connection.fetchval(state, client_id, one.instrument_id)
    await other.order(**RESTING, quantity=1)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("select set_config('app.tenant_id', $1, true)", str(one.tenant_id))
        take = "select orders_take_client($1::jsonb, $2)"
        assert await connection.fetchval(take, read, one.account_id) is False
        again = await connection.fetchval(state, client_id, one.instrument_id)
        assert await connection.fetchval(take, again, one.account_id) is True


async def test_orders_of_all_accounts_of_a_client_at_once_are_all_answered(venue: Venue, client_id: UUID) -> None:
    """One account could win every time, and the others would be told that theirs is busy."""
    accounts = [await _account(venue, client_id) for _ in range(8)]
    await _limit(venue, client_id, "max_position", "100000.00")
    placed = await asyncio.gather(*(accounts[turn % 8].order(**RESTING, quantity=1) for turn in range(64)))
    assert [one.reasons for one in placed] == [[]] * 64
