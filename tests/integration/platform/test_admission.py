"""Every route obeys the caller's role and the tenant's state: each operation of the API, each built-in role."""

import re
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI

from app.infra.database import Database
from app.kernel.ids import uuid7
from app.kernel.orders import Mode
from app.kernel.principal import Principal
from app.platform.plans.service import TenantQuotas
from app.platform.tenancy.domain import BUILT_IN, Role, TenantStatus
from app.platform.tenancy.service import Admission, active_member, set_status, suspend_member
from tests.factories.endings import Heard
from tests.factories.entitlements import override
from tests.factories.gateway import EXITS, STREAMS
from tests.factories.members import make_person
from tests.factories.tenants import make_tenant
from tests.integration.platform.conftest import now

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(600)]


def _operations(app: FastAPI) -> Iterator[tuple[str, str, set[str]]]:
    """All but streams, which do not end: `test_streams` asks them."""
    for path, methods in app.openapi()["paths"].items():
        if path in STREAMS:
            continue
        for method, operation in methods.items():
            if "x-permissions" in operation:
                yield method.upper(), path, set(operation["x-permissions"])


async def _code(client: httpx.AsyncClient, method: str, path: str, headers: dict[str, str]) -> str | None:
    """The code of the answer to a body that no route takes: who may call decides before what is said."""
    body: dict[str, str] | None = None if method == "GET" else {}
    answer = await client.request(method, re.sub(r"\{\w+\}", "nonsense", path), headers=headers, json=body)
    assert answer.status_code < 500, f"{method} {path}: {answer.text}"
    found = answer.json() if answer.content else {}
    return found.get("code") if isinstance(found, dict) else None


@pytest.mark.parametrize("role", BUILT_IN)
async def test_a_role_opens_its_own_routes_and_no_others(
    gateway_app: FastAPI, client: httpx.AsyncClient, database: Database, role: str
) -> None:
    tenant = await make_tenant(database)
    person = await make_person(database, tenant.tenant_id, next(one for one in BUILT_IN if one == role))
    for method, path, needed in _operations(gateway_app):
        code = await _code(client, method, path, person.headers)
        permitted = needed <= BUILT_IN[next(one for one in BUILT_IN if one == role)]
        assert (code == "role_lacks_permission") == (not permitted), f"{role}: {method} {path}: {code}"


@pytest.mark.parametrize("status", [TenantStatus.SUSPENDED, TenantStatus.CLOSING])
async def test_a_suspended_tenant_reads_and_exits_and_no_more(
    gateway_app: FastAPI, client: httpx.AsyncClient, database: Database, status: TenantStatus
) -> None:
    tenant = await make_tenant(database)
    async with database.tx(tenant.tenant_id) as tx:
        await set_status(tx, status)
    refused, known = set(), set()
    for method, path, needed in _operations(gateway_app):
        known.add(f"{method} {path}")
        if await _code(client, method, path, tenant.headers) == f"tenant_{status}":
            refused.add(f"{method} {path}")
        elif f"{method} {path}" not in EXITS:
            assert all(name.endswith(":read") for name in needed), f"{method} {path} is open to a suspended tenant"
    assert known >= EXITS
    assert not refused & EXITS
    async with database.tx(tenant.tenant_id) as tx:
        await set_status(tx, TenantStatus.ACTIVE)
    assert await _code(client, "POST", "/v1/accounts", tenant.headers) == "invalid_request"


async def test_what_the_plan_lacks_is_refused_but_never_an_exit(database: Database) -> None:
    from app.kernel.errors import DomainError

    tenant, having = await make_tenant(database), await make_tenant(database)
    await override(database, having.tenant_id, "features.live_trading", True)
    admission = Admission(database, TenantQuotas(database))
    caller = Principal(tenant.tenant_id, tenant.key_row, Mode.LIVE, frozenset({"accounts:write", "orders:write"}))
    with pytest.raises(DomainError) as refused:
        await admission.check(caller, ("accounts:write",), exits=False, now=now())
    assert refused.value.code == "feature_not_in_plan"
    assert "the plan developer has it" in refused.value.message
    await admission.check(caller, ("accounts:write",), exits=True, now=now())
    await admission.check(caller, ("orders:write",), exits=False, now=now())
    await admission.check(replace(caller, mode=Mode.TEST), ("accounts:write",), exits=False, now=now())
    await admission.check(replace(caller, tenant_id=having.tenant_id), ("accounts:write",), exits=False, now=now())


async def test_a_persons_permissions_are_those_of_his_role_in_that_tenant_alone(database: Database) -> None:
    one, other = await make_tenant(database), await make_tenant(database)
    person = await make_person(database, one.tenant_id, Role.ANALYST)
    async with database.tx(other.tenant_id) as tx:
        assert await active_member(tx, person.user_id) is None
    async with database.tx(one.tenant_id) as tx:
        member = await active_member(tx, person.user_id)
        assert member is not None and member.permissions == BUILT_IN[Role.ANALYST]
        await suspend_member(tx, person.member_id, tokens=Heard(), now=now())
        assert await active_member(tx, person.user_id) is None


async def test_a_person_who_is_no_member_may_nothing(database: Database) -> None:
    from app.kernel.errors import DomainError

    tenant = await make_tenant(database)
    other = await make_person(database, (await make_tenant(database)).tenant_id)
    for user_id in (uuid7(), other.user_id):
        caller = Principal(tenant.tenant_id, uuid7(), Mode.TEST, frozenset({"orders:read"}), user_id=user_id)
        with pytest.raises(DomainError) as refused:
            await Admission(database, TenantQuotas(database)).check(caller, ("orders:read",), exits=True, now=now())
        assert refused.value.code == "role_lacks_permission"
