"""Tenants that close, and people who act for them, where it costs money: on the order path."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from app.bootstrap import App
from app.kernel.errors import DomainError
from app.kernel.ids import encode_id
from app.kernel.orders import OrderStatus, OrderType, Side
from app.platform.identity.service import KeyAuthenticator, TenantKeys
from app.platform.tenancy.domain import CLOSING_GRACE, Role, TenantStatus
from app.platform.tenancy.service import close_tenant, create_tenant, get_tenant, set_status
from app.trading.orders.service.reading import TenantHoldings
from tests.factories.endings import Heard
from tests.factories.members import Person, make_person
from tests.factories.tenants import TenantWithKey, make_key
from tests.integration.trading.conftest import Venue

pytestmark = pytest.mark.asyncio


async def _close(venue: Venue, who: Person, *, ago: timedelta = timedelta(0)) -> str:
    now = datetime.now(UTC)
    try:
        async with venue.app.database.tx(venue.tenant_id, who.present) as tx:
            await close_tenant(tx, credentials=TenantKeys(), tokens=Heard(), holdings=TenantHoldings(), now=now + ago)
    except DomainError as error:
        return error.code
    return "closing"


async def test_a_tenant_closes_when_it_holds_nothing_and_its_keys_end(venue: Venue) -> None:
    owner = await make_person(venue.app.database, venue.tenant_id)
    resting = await venue.order(order_type=OrderType.LIMIT, limit_price=190_000)
    assert await _close(venue, owner) == "tenant_holds_positions"
    bought = await venue.order()
    await venue.work()
    await venue.show(200_000)
    assert await venue.status(bought.id) == "filled"
    from app.trading.orders.service import request_cancel

    async with venue.app.database.tx(venue.tenant_id) as tx:
        await request_cancel(tx, resting.id, now=datetime.now(UTC))
    await venue.work()
    assert await _close(venue, owner) == "tenant_holds_positions"
    sold = await venue.order(side=Side.SELL)
    await venue.work()
    await venue.show(200_000)
    assert await venue.status(sold.id) == "filled"
    assert await _close(venue, owner) == "closing"
    async with venue.app.database.tx(venue.tenant_id) as tx:
        tenant = await get_tenant(tx)
    assert tenant.status == "closing" and tenant.closes_at is not None
    assert tenant.closes_at - datetime.now(UTC) <= CLOSING_GRACE
    authenticator = KeyAuthenticator(venue.app.database, cell="in1")
    with pytest.raises(DomainError) as refused:
        await authenticator.authenticate(owner.secret, now=datetime.now(UTC))
    assert refused.value.code == "api_key_revoked"
    assert (await venue.order()).status is OrderStatus.DENIED
    assert await _close(venue, owner) == "closing"
    assert len(await venue.rows("select 1 from events where type = 'tenant.closing'")) == 1


async def test_only_an_owner_in_person_who_just_logged_in_closes_a_tenant(venue: Venue, api: httpx.AsyncClient) -> None:
    owner = await make_person(venue.app.database, venue.tenant_id)
    admin = await make_person(venue.app.database, venue.tenant_id, Role.ADMIN)
    assert await _close(venue, admin) == "owner_needed"
    assert await _close(venue, owner, ago=timedelta(minutes=11)) == "insufficient_user_authentication"
    key = await make_key(venue.app.database, venue.tenant_id)
    for headers, code in (
        (key.headers, "owner_needed"),
        (admin.headers, "role_lacks_permission"),
        (owner.headers, "login_needed"),
    ):
        answer = await api.delete("/v1/tenant", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, code)
    async with venue.app.database.tx(venue.tenant_id) as tx:
        assert (await get_tenant(tx)).status == "active"


async def test_the_operator_closes_a_tenant_without_owners_but_not_one_that_holds_something(venue: Venue) -> None:
    async def close() -> None:
        async with venue.app.database.tx(venue.tenant_id, operator="asha") as tx:
            await close_tenant(
                tx,
                credentials=TenantKeys(),
                tokens=Heard(),
                holdings=TenantHoldings(),
                now=datetime.now(UTC),
                reason="ticket 42",
            )

    resting = await venue.order(order_type=OrderType.LIMIT, limit_price=190_000)
    with pytest.raises(DomainError) as refused:
        await close()
    assert refused.value.code == "tenant_holds_positions"
    from app.trading.orders.service import request_cancel

    async with venue.app.database.tx(venue.tenant_id) as tx:
        await request_cancel(tx, resting.id, now=datetime.now(UTC))
    await venue.work()
    await close()
    (event,) = await venue.rows("select data, actor_operator from events where type = 'tenant.closing'")
    assert (event["data"]["reason"], event["actor_operator"]) == ("ticket 42", "asha")
    async with venue.app.database.tx(venue.tenant_id, operator="asha") as tx:
        with pytest.raises(DomainError) as refused:
            await set_status(tx, TenantStatus.SUSPENDED)
    assert refused.value.code == "tenant_closes"
    assert (await venue.order()).status is OrderStatus.DENIED


async def test_an_order_and_the_closing_at_once_never_both_succeed(venue: Venue) -> None:
    owner = await make_person(venue.app.database, venue.tenant_id)
    for _ in range(6):
        placed, closed = await asyncio.gather(
            venue.order(order_type=OrderType.LIMIT, limit_price=190_000), _close(venue, owner)
        )
        assert (placed.status, closed) in (
            (OrderStatus.ACCEPTED, "tenant_holds_positions"),
            (OrderStatus.DENIED, "closing"),
        )
        async with venue.app.database.tx(venue.tenant_id) as tx:
            await set_status(tx, TenantStatus.ACTIVE)
        if placed.status is OrderStatus.ACCEPTED:
            from app.trading.orders.service import request_cancel

            async with venue.app.database.tx(venue.tenant_id) as tx:
                await request_cancel(tx, placed.id, now=datetime.now(UTC))
            await venue.work()
    await venue.is_sound()


async def test_an_order_placed_for_a_child_names_both_identities(
    api: httpx.AsyncClient, app: App, tenant: TenantWithKey
) -> None:
    boss = await make_person(app.database, tenant.tenant_id)
    child_id = await create_tenant(app.database, slug="below", name="Below", parent_id=tenant.tenant_id)
    grant = await api.post(
        "/v1/act_as_grants",
        headers=boss.headers,
        json={"tenant_id": encode_id("ten", child_id), "reason": "close their position", "minutes": 5},
    )
    assert grant.status_code == 201, grant.text
    acting = boss.headers | {"Mandi-Act-As": grant.json()["id"]}
    placed = await _place(api, acting)
    found = await _events(app, child_id, "order.accepted")
    assert [encode_id("ord", row.subject_id) for row in found] == [placed["id"]]
    assert (found[0].actor_user_id, found[0].actor_tenant_id) == (boss.user_id, tenant.tenant_id)
    assert encode_id("act", found[0].grant_id) == grant.json()["id"]
    assert await _events(app, tenant.tenant_id, "order.accepted") == []
    own = await _place(api, tenant.headers)
    (event,) = await _events(app, tenant.tenant_id, "order.accepted")
    assert (encode_id("ord", event.subject_id), event.actor_user_id, event.grant_id) == (own["id"], None, None)


async def _place(api: httpx.AsyncClient, headers: dict[str, str]) -> dict[str, Any]:
    body = {"name": "a", "currency": "USD", "opening_balance": "10000.00"}
    account = await api.post("/v1/accounts", headers=headers, json=body)
    found = await api.get("/v1/instruments", headers=headers, params={"symbol": "AAPL"})
    order = {
        "account_id": account.json()["id"],
        "instrument_id": found.json()["data"][0]["id"],
        "side": "buy",
        "order_type": "limit",
        "quantity": "10",
        "limit_price": "19.50",
    }
    placed = await api.post("/v1/orders", headers=headers, json=order)
    assert placed.status_code == 201, placed.text
    shown: dict[str, Any] = placed.json()
    assert shown["status"] == "accepted", shown
    return shown


async def _events(app: App, tenant_id: UUID, kind: str) -> list[Any]:
    async with app.database.tx(tenant_id) as tx:
        return list(await tx.execute(text("select * from events where type = :kind order by id"), {"kind": kind}))
