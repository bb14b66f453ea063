"""Streams ask what every request asks, again and again: who was suspended, or lost a grant, hears no more."""

import json
from uuid import UUID

import pytest
from websockets.exceptions import ConnectionClosed

from app.kernel.ids import decode_id, encode_id
from app.platform.tenancy.domain import Role
from app.platform.tenancy.service import change_role, create_tenant, end_grant, open_grant, suspend_member
from app.platform.tenancy.service.roles import create_role
from app.web import stream
from tests.factories.endings import Heard
from tests.factories.members import Person, make_person
from tests.factories.streams import Served, ask, connected, emit, stamped, streaming, told
from tests.factories.tenants import make_tenant
from tests.integration.platform.conftest import now

pytestmark = pytest.mark.asyncio


async def _suspend(served: Served, who: Person) -> None:
    async with served.database.tx(who.tenant_id) as tx:
        await suspend_member(tx, who.member_id, tokens=Heard(), now=now())


async def _grant(served: Served) -> tuple[Person, UUID, str]:
    """A person of a parent, the child, and a grant to act for it."""
    parent = await make_tenant(served.database)
    child = await create_tenant(served.database, slug="below", name="Below", parent_id=parent.tenant_id)
    boss = await make_person(served.database, parent.tenant_id)
    async with served.database.tx(parent.tenant_id, boss.principal) as tx:
        grant = await open_grant(tx, child, reason="ticket 4711: no fills", minutes=5, now=now())
    return boss, child, encode_id("act", grant.id)


async def _end(served: Served, tenant_id: UUID, grant: str) -> None:
    async with served.database.tx(tenant_id) as tx:
        await end_grant(tx, decode_id("act", grant), now=now())


async def test_a_suspended_member_hears_no_more_events(served: Served) -> None:
    tenant = await make_tenant(served.database)
    await make_person(served.database, tenant.tenant_id)
    who = await make_person(served.database, tenant.tenant_id)
    await stamped(served.database, tenant.tenant_id)  # else it is told of them, too
    async with streaming(served, who) as reader:
        await emit(served.database, tenant.tenant_id, "order.created")
        assert (await reader.next())["event"] == "order.created"
        await _suspend(served, who)
        while (one := await reader.next()).get("event") != "stream.ended":
            assert one["event"] == "member.suspended"
        assert json.loads(one["data"]) == {"code": "role_lacks_permission"}
        assert await reader.next() == {}


async def test_a_stream_under_a_grant_is_the_childs_and_ends_with_the_grant(served: Served) -> None:
    boss, child, grant = await _grant(served)
    await stamped(served.database, child)
    async with streaming(served, boss, **{"Mandi-Act-As": grant}) as reader:
        await emit(served.database, child, "order.created")
        await emit(served.database, boss.tenant_id, "order.filled")
        assert (await reader.next())["event"] == "order.created"
        await _end(served, boss.tenant_id, grant)
        while (one := await reader.next()).get("event") != "stream.ended":
            assert one["event"] == "act_as.ended"
        assert json.loads(one["data"]) == {"code": "grant_not_in_force"}


async def test_a_suspended_member_is_cut_off_from_the_socket(served: Served) -> None:
    tenant = await make_tenant(served.database)
    await make_person(served.database, tenant.tenant_id)
    who = await make_person(served.database, tenant.tenant_id)
    async with connected(served, **who.headers) as socket:
        await told(socket)
        assert (await ask(socket, op="subscribe", channel="orders"))["type"] == "subscribed"
        await _suspend(served, who)
        assert (await told(socket))["code"] == "role_lacks_permission"
        with pytest.raises(ConnectionClosed) as closed:
            await told(socket)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (stream.POLICY, "not_permitted")


async def test_a_role_without_the_permission_subscribes_to_nothing(served: Served) -> None:
    tenant = await make_tenant(served.database)
    who = await make_person(served.database, tenant.tenant_id, Role.ANALYST)
    async with served.database.tx(tenant.tenant_id) as tx:
        role = await create_role(tx, name="blind", permissions=["tenant:read"])
        await change_role(tx, who.member_id, encode_id("rol", role.id), now=now())
    async with connected(served, **who.headers) as socket:
        await told(socket)
        for channel in ("orders", "quotes"):
            refused = await ask(socket, op="subscribe", channel=channel, instruments=["ins_x"])
            assert refused["code"] == "role_lacks_permission"


async def test_a_socket_under_a_grant_is_the_childs_and_ends_with_the_grant(served: Served) -> None:
    boss, child, grant = await _grant(served)
    async with connected(served) as socket:
        said = await ask(socket, op="auth", token=boss.secret, act_as=grant)
        assert said == {"type": "authenticated", "tenant_id": encode_id("ten", child)}
        await _end(served, child, grant)
        assert (await told(socket))["code"] == "grant_not_in_force"
        with pytest.raises(ConnectionClosed):
            await told(socket)
