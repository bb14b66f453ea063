"""Getting out at once: every order taken back, every position closed, nothing sold twice."""

from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from app.bootstrap import App
from app.infra.work.runner import Item
from app.kernel.errors import DomainError
from app.kernel.ids import encode_id
from app.kernel.orders import OrderType, Side
from app.trading.orders.service import Which, cancel_all, exit_all
from app.trading.orders.service.leaving import PATIENCE, exit_position
from tests.factories.tenants import TenantWithKey
from tests.integration.trading.conftest import PRICE, Venue

LIMIT: dict[str, Any] = {"order_type": OrderType.LIMIT, "limit_price": PRICE - 1_000}


async def _leave(venue: Venue) -> tuple[list[UUID], list[UUID]]:
    async with venue.app.database.tx(venue.tenant_id) as tx:
        return await exit_all(tx, Which(account_id=venue.account_id), now=datetime.now(UTC))


async def _hold(venue: Venue, quantity: int = 10) -> None:
    await venue.order(quantity=quantity)
    await venue.work()
    await venue.show(PRICE)
    assert await _held(venue) == quantity


async def _held(venue: Venue) -> int:
    return sum(row["quantity"] for row in await venue.rows("select quantity from positions"))


async def test_all_orders_are_taken_back_and_give_their_holds_back(venue: Venue) -> None:
    resting = [await venue.order(**LIMIT) for _ in range(3)]
    await venue.work()
    unsent = await venue.order(**LIMIT)
    async with venue.app.database.tx(venue.tenant_id) as tx:
        asked = await cancel_all(tx, Which())
    assert set(asked) == {order.id for order in (*resting, unsent)}
    await venue.work()
    assert {await venue.status(order_id) for order_id in asked} == {"cancelled"}
    assert await venue.rows("select 1 from paper_orders") == []
    await venue.is_sound()


async def test_only_the_orders_that_are_meant_are_taken_back(venue: Venue) -> None:
    await _hold(venue)
    buying = await venue.order(**LIMIT)
    selling = await venue.order(side=Side.SELL, order_type=OrderType.LIMIT, limit_price=PRICE + 1_000)
    await venue.work()
    async with venue.app.database.tx(venue.tenant_id) as tx:
        assert await cancel_all(tx, Which(instrument_id=uuid4())) == []
        assert await cancel_all(tx, Which(account_id=venue.account_id, side=Side.SELL)) == [selling.id]
    await venue.work()
    assert [await venue.status(order.id) for order in (buying, selling)] == ["open", "cancelled"]


async def test_a_position_is_closed_after_its_orders_were_taken_back(venue: Venue) -> None:
    await _hold(venue)
    selling = await venue.order(side=Side.SELL, quantity=4, order_type=OrderType.LIMIT, limit_price=PRICE + 1_000)
    await venue.work()
    orders, positions = await _leave(venue)
    assert (orders, positions) == ([selling.id], [venue.instrument_id])
    await venue.work()
    (exit_order,) = await venue.rows("select side, quantity from orders where intent_reason = 'exit_all'")
    assert (exit_order["side"], exit_order["quantity"]) == ("sell", 10)
    await venue.work()
    await venue.show(PRICE)
    assert await _held(venue) == 0
    await venue.is_sound()


async def test_asking_twice_sells_once(venue: Venue) -> None:
    await _hold(venue)
    for _ in range(2):
        await _leave(venue)
    for _ in range(3):
        await venue.work()
    await venue.show(PRICE)
    fills = await venue.rows("select quantity from fills where side = 'sell'")
    assert [fill["quantity"] for fill in fills] == [10]
    assert await _held(venue) == 0


async def test_an_exit_that_a_killed_worker_leaves_behind_sells_once(venue: Venue) -> None:
    """The order was placed, but its row of work was not yet done: the next attempt finds nothing free."""
    await _hold(venue)
    await _leave(venue)
    (row,) = await venue.rows("select id, payload from work_items where kind = 'position.exit'")
    await venue.work()
    again = partial(Item, venue.tenant_id, row["id"], venue.account_id, "position.exit", row["payload"], fence=1)
    for attempts in (2, PATIENCE + 1):
        await exit_position(venue.app.database, again(attempts=attempts), now=datetime.now(UTC))
    await venue.work()
    await venue.show(PRICE)
    assert await _held(venue) == 0
    await exit_position(venue.app.database, again(attempts=3), now=datetime.now(UTC))
    assert len(await venue.rows("select 1 from orders where intent_reason = 'exit_all'")) == 1


async def test_an_account_that_may_only_reduce_gets_out(venue: Venue) -> None:
    await _hold(venue)
    await venue.rows("update accounts set status = 'reduce_only' returning 1")
    await _leave(venue)
    await venue.work()
    await venue.work()
    await venue.show(PRICE)
    assert await _held(venue) == 0


async def test_a_flat_account_has_nothing_to_leave(venue: Venue) -> None:
    assert await _leave(venue) == ([], [])
    with pytest.raises(DomainError, match="account"):
        async with venue.app.database.tx(venue.tenant_id) as tx:
            await exit_all(tx, Which(account_id=uuid4()), now=datetime.now(UTC))


async def test_the_api_answers_what_it_asked_for(api: httpx.AsyncClient, app: App, tenant: TenantWithKey) -> None:
    account = await api.post(
        "/v1/accounts", headers=tenant.headers, json={"name": "a", "currency": "USD", "opening_balance": "10000.00"}
    )
    found = await api.get("/v1/instruments", headers=tenant.headers, params={"symbol": "AAPL"})
    body = {
        "account_id": account.json()["id"],
        "instrument_id": found.json()["data"][0]["id"],
        "side": "buy",
        "order_type": "limit",
        "quantity": "10",
        "limit_price": "19.50",
    }
    order = (await api.post("/v1/orders", headers=tenant.headers, json=body)).json()
    asked = await api.post("/v1/orders/cancel_all", headers=tenant.headers, json={"account_id": body["account_id"]})
    assert (asked.status_code, asked.json()) == (202, {"cancelling": [order["id"]], "exiting": []})
    left = await api.post("/v1/positions/exit_all", headers=tenant.headers, json={"account_id": body["account_id"]})
    assert (left.status_code, left.json()["exiting"]) == (202, [])
    wrong = await api.post("/v1/orders/cancel_all", headers=tenant.headers, json={"account_id": "nonsense"})
    assert (wrong.status_code, wrong.json()["param"]) == (422, "account_id")
    other = await api.post(
        "/v1/positions/exit_all", headers=tenant.headers, json={"account_id": encode_id("acc", uuid4())}
    )
    assert other.status_code == 404
