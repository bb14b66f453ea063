"""10,000 random orders, racing on one account after another: no limit is ever exceeded, reckoned a second time."""

import asyncio
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.custody.accounts.domain import NewAccount
from app.custody.accounts.service import create_account
from app.custody.ledger.service import Books
from app.kernel.errors import DomainError
from app.kernel.money import Money
from app.kernel.orders import OrderType
from app.trading.risk.service import TENANT, Scope, set_limit, set_platform_limit
from tests.integration.trading.conftest import AT, PRICE, Venue

EXAMPLES, ORDERS = 80, 125
ACCOUNTS_AT_ONCE, ORDERS_AT_ONCE = 6, 2
CASH = 1_000_000


@dataclass(frozen=True)
class Limits:
    """In whole units and cents."""

    order_value: int
    position: int
    quantity: int
    open_orders: int
    per_day: int


limits = st.builds(
    Limits,
    order_value=st.integers(50_000, 200_000),
    position=st.integers(400_000, 1_200_000),
    quantity=st.integers(30, 100),
    open_orders=st.integers(10, 60),
    per_day=st.integers(10, 80),
)
"""From where some orders pass: what denies all of them proves nothing."""
orders = st.lists(
    st.tuples(st.integers(1, 100), st.none() | st.integers(1_600, 2_400)), min_size=ORDERS, max_size=ORDERS
)


async def _account(venue: Venue, held: Limits) -> UUID:
    async with venue.app.database.tx(venue.tenant_id) as tx:
        asked = NewAccount(
            name="p", currency="USD", opening_balance=Money(CASH, "USD"), feed=venue.feed, slippage_bps=0
        )
        account_id = (await create_account(tx, asked, books=Books(), now=AT)).id
        scope = Scope(account_id=account_id)
        for rule, parameters in (
            ("max_order_value", {"limit": _money(held.order_value)}),
            ("max_position", {"limit": _money(held.position)}),
            ("max_quantity", {"limit": str(held.quantity)}),
            ("max_open_orders", {"limit": held.open_orders}),
            ("order_rate", {"per_day": held.per_day}),
        ):
            await set_limit(tx, scope, rule, parameters)
    return account_id


def _money(minor: int) -> str:
    return f"{minor // 100}.{minor % 100:02d}"


async def _place(venue: Venue, account_id: UUID, asked: list[tuple[int, int | None]]) -> None:
    waiting = list(asked)

    async def place(apart: bool) -> None:
        while waiting:
            quantity, cents = waiting.pop()
            kind: dict[str, Any] = {"order_type": OrderType.MARKET}
            if cents is not None:
                kind = {"order_type": OrderType.LIMIT, "limit_price": cents * 100}
            for _ in range(20):
                try:
                    await venue.order(account_id=account_id, quantity=quantity, apart=apart, **kind)
                    break
                except DomainError as error:
                    assert error.code == "account_busy"

    await asyncio.gather(*(place(apart=number % 2 == 0) for number in range(ORDERS_AT_ONCE)))


async def _reckon(venue: Venue, account_id: UUID, held: Limits) -> None:
    """Every accepted order in the order of writing, against plain sums."""
    accepted = await venue.rows(
        "select quantity, coalesce(limit_price, :last) as price, hold_minor from orders "
        "where account_id = :account and status <> 'denied' order by created_at, id",
        last=PRICE,
        account=account_id,
    )
    position = spent = 0
    for number, one in enumerate(accepted, start=1):
        position += one["quantity"]
        spent += one["hold_minor"]
        assert one["quantity"] * one["price"] <= held.order_value * 100
        assert position * one["price"] <= held.position * 100
        assert one["quantity"] <= held.quantity
        assert number <= min(held.open_orders, held.per_day)
        assert spent <= CASH


@pytest.mark.timeout(300)  # 15 s where nothing else runs
async def test_no_limit_is_exceeded_by_10_000_random_orders(venue: Venue) -> None:
    drawn: list[tuple[Limits, list[tuple[int, int | None]]]] = []

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(limits, orders)
    def draw(held: Limits, asked: list[tuple[int, int | None]]) -> None:
        drawn.append((held, asked))

    draw()
    waiting = drawn[:EXAMPLES]

    async def trade() -> int:
        seen = 0
        while waiting:
            held, asked = waiting.pop()
            account_id = await _account(venue, held)
            await _place(venue, account_id, asked)
            await _reckon(venue, account_id, held)
            seen += len(asked)
        return seen

    seen = sum(await asyncio.gather(*(trade() for _ in range(ACCOUNTS_AT_ONCE))))
    assert seen == EXAMPLES * ORDERS
    (row,) = await venue.rows("select count(*) filter (where status = 'accepted') as a, count(*) as n from orders")
    assert row["n"] == seen and 500 < row["a"] < seen - 500, "limits that never deny, or always, prove nothing"


@pytest.mark.parametrize("apart", [False, True])
async def test_50_racing_orders_exceed_no_limit_of_any_level(venue: Venue, apart: bool) -> None:
    for scope, limit in ((TENANT, "800.00"), (Scope(account_id=venue.account_id), "600.00")):
        async with venue.app.database.tx(venue.tenant_id) as tx:
            await set_limit(tx, scope, "max_position", {"limit": limit})
    asked = [venue.order(quantity=10, order_type=OrderType.LIMIT, limit_price=PRICE, apart=apart) for _ in range(50)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert all(not isinstance(a, BaseException) or isinstance(a, DomainError) for a in answers)
    (row,) = await venue.rows("select coalesce(sum(quantity), 0) as q from orders where status = 'accepted'")
    assert 0 < row["q"] <= 30


async def test_the_platforms_limit_holds_for_a_tenant_that_set_a_looser_one_before(venue: Venue) -> None:
    """Of a rule that nobody else's tests meet: the platform is everybody's."""
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await set_limit(tx, TENANT, "max_quantity", {"limit": "999999"})
    await set_platform_limit(venue.app.database, "max_quantity", {"limit": "900000"})
    try:
        denied = await venue.order(quantity=900_001)
        assert "max_quantity" in [reason.rule for reason in denied.reasons]
        assert next(r for r in denied.reasons if r.rule == "max_quantity").limit == "900000"
        with pytest.raises(DomainError) as caught:
            async with venue.app.database.tx(venue.tenant_id) as tx:
                await set_limit(tx, TENANT, "max_quantity", {"limit": "900001"})
        assert caught.value.code == "limit_looser_than_parent" and "platform" in caught.value.message
    finally:
        await set_platform_limit(venue.app.database, "max_quantity", None)
    after = await venue.order(quantity=900_001)
    assert "max_quantity" not in [reason.rule for reason in after.reasons]
