"""`Idempotency-Key`: one effect a key, the same answer again, and nothing of a request that did not commit."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from asgi_lifespan import LifespanManager
from fastapi import Depends, FastAPI, Response
from sqlalchemy import event, text

from app.infra.database import Database
from app.infra.idempotency.keys import prune
from app.infra.settings import Settings
from app.kernel.errors import DomainError, Kind, StepUpError, conflict
from app.kernel.ids import uuid7
from app.main import create_app
from app.web.auth import requires
from app.web.idempotency import idempotent
from app.web.models import ApiModel
from app.web.routing import ApiRouter
from app.web.transaction import OpenTx, rehearsed
from tests.factories.tenants import TenantWithKey, make_key, make_tenant

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def gateway_app(app_settings: Settings) -> AsyncIterator[FastAPI]:
    """One of this module's own: its tests add routes."""
    app = create_app(app_settings)
    async with LifespanManager(app, startup_timeout=30, shutdown_timeout=30):
        yield app


ACCOUNT = {"name": "a", "currency": "USD", "opening_balance": "1000.00"}


def _keyed(tenant: TenantWithKey, key: str = "key-1") -> dict[str, str]:
    return tenant.headers | {"Idempotency-Key": key}


async def _count(database: Database, tenant: TenantWithKey, what: str) -> int:
    async with database.tx(tenant.tenant_id) as tx:
        return int((await tx.execute(text(f"select count(*) from {what}"))).scalar_one())


class ProbeBody(ApiModel):
    n: int = 0


@pytest.fixture
def probing(gateway_app: FastAPI) -> FastAPI:
    """The gateway with a route that writes an event and then ends as it is told."""
    router = ApiRouter()

    @router.post("/probe/{how}", dependencies=[Depends(requires("events:read")), idempotent])
    async def probe(how: str, body: ProbeBody, tx: OpenTx, response: Response) -> dict[str, str]:
        tx.emit("probe", uuid7(), {})
        await tx.flush()

        async def tell() -> None:
            gateway_app.state.told.append(how)

        tx.tell(tell)
        if how == "commit_fails":

            @event.listens_for(tx.session.sync_session, "before_commit")
            def fail(_: Any) -> None:
                if not tx.session.in_nested_transaction():
                    raise RuntimeError("the commit fails")

        if how == "handler_fails":
            raise RuntimeError("the handler fails")
        if how == "refused":
            raise conflict("probe_refused", "It is refused.")
        if how == "unavailable":
            raise DomainError("probe_unavailable", Kind.UNAVAILABLE, "Not now.")
        if how == "login_needed":
            raise StepUpError(600)
        response.headers["Location"] = "/v1/somewhere"
        return {"made": str(uuid7())}

    gateway_app.state.told = []
    gateway_app.include_router(router)
    return gateway_app


async def test_what_was_taken_back_tells_nobody(
    client: httpx.AsyncClient, probing: FastAPI, database: Database
) -> None:
    tenant = await make_tenant(database)
    for how in ("well", "refused", "unavailable", "commit_fails"):
        await client.post(f"/probe/{how}", headers=_keyed(tenant, how), json={})
    await client.post("/probe/well", headers=_keyed(tenant, "well"), json={})
    assert probing.state.told == ["well"]
    async with database.tx(tenant.tenant_id) as tx:
        async with rehearsed(tx):
            tx.wake("backtests")
            tx.tell(_never)
        assert (tx.woken, tx.told) == (set(), [])


async def _never() -> None:
    raise AssertionError("a rehearsal told somebody")


async def test_the_same_request_again_gets_the_same_bytes_and_does_nothing(
    client: httpx.AsyncClient, database: Database
) -> None:
    tenant = await make_tenant(database)
    first, again = [await client.post("/v1/accounts", headers=_keyed(tenant), json=ACCOUNT) for _ in range(2)]
    assert (first.status_code, again.status_code) == (201, 201), first.text
    assert again.content == first.content
    assert again.headers["content-type"] == first.headers["content-type"]
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert await _count(database, tenant, "accounts") == 1


async def test_headers_that_matter_are_kept(client: httpx.AsyncClient, probing: FastAPI, database: Database) -> None:
    tenant = await make_tenant(database)
    for _ in range(2):
        answer = await client.post("/probe/well", headers=_keyed(tenant), json={"n": 1})
        assert answer.headers["Location"] == "/v1/somewhere"


async def test_spelling_and_order_of_the_body_do_not_matter(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    headers = _keyed(tenant) | {"Content-Type": "application/json"}
    first = await client.post("/v1/accounts", headers=headers, json=ACCOUNT)
    spelt = b' {"opening_balance": "1000.00",\n "currency": "\\u0055SD", "name": "a"}'
    again = await client.post("/v1/accounts", headers=headers, content=spelt)
    assert (again.status_code, again.content) == (201, first.content)


async def test_another_body_under_the_same_key_is_a_422(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    await client.post("/v1/accounts", headers=_keyed(tenant), json=ACCOUNT)
    other = await client.post("/v1/accounts", headers=_keyed(tenant), json=ACCOUNT | {"name": "b"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert other.json()["param"] == "Idempotency-Key"
    assert await _count(database, tenant, "accounts") == 1


async def test_another_path_or_query_under_the_same_key_is_a_422(
    client: httpx.AsyncClient, probing: FastAPI, database: Database
) -> None:
    tenant = await make_tenant(database)
    await client.post("/probe/well", headers=_keyed(tenant), json={})
    other = await client.post("/probe/refused", headers=_keyed(tenant), json={})
    assert other.json()["code"] == "idempotency_key_reused"


async def test_callers_and_routes_have_their_keys_to_themselves(
    client: httpx.AsyncClient, probing: FastAPI, database: Database
) -> None:
    tenant = await make_tenant(database)
    second = await make_key(database, tenant.tenant_id)
    stranger = await make_tenant(database)
    made = [
        (await client.post("/v1/accounts", headers=_keyed(who), json=ACCOUNT)).json()["id"]
        for who in (tenant, second, stranger)
    ]
    assert len(set(made)) == 3
    assert (await client.post("/probe/well", headers=_keyed(tenant), json={})).status_code == 200


async def test_fifty_at_once_have_one_effect(client: httpx.AsyncClient, probing: FastAPI, database: Database) -> None:
    tenant = await make_tenant(database)
    answers = await asyncio.gather(
        *(client.post("/v1/accounts", headers=_keyed(tenant), json=ACCOUNT) for _ in range(50))
    )
    made = {answer.content for answer in answers if answer.status_code == 201}
    busy = [answer for answer in answers if answer.status_code == 409]
    assert len(made) == 1
    assert {answer.status_code for answer in answers} <= {201, 409}
    for answer in busy:
        assert answer.json()["code"] == "idempotency_in_progress"
        assert answer.json()["retryable"] is True
        assert answer.headers["Retry-After"] == "1"
    assert await _count(database, tenant, "accounts") == 1


async def test_a_running_request_makes_the_same_key_a_409(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    first = await client.post("/v1/accounts", headers=_keyed(tenant), json=ACCOUNT)
    async with database.tx(tenant.tenant_id) as tx:
        (key,) = (await tx.scalars(text("select id from idempotency_keys"))).all()
        await tx.execute(text("select * from idempotency_begin(:tenant, :id)"), {"tenant": tx.tenant_id, "id": key})
        busy = await client.post("/v1/accounts", headers=_keyed(tenant), json=ACCOUNT)
        assert (busy.status_code, busy.json()["code"]) == (409, "idempotency_in_progress")
    after = await client.post("/v1/accounts", headers=_keyed(tenant), json=ACCOUNT)
    assert after.content == first.content


@pytest.mark.parametrize(
    ("how", "status"),
    [("commit_fails", 500), ("handler_fails", 500), ("unavailable", 503), ("login_needed", 401)],
)
async def test_what_did_not_commit_leaves_no_effect_and_no_answer(
    client: httpx.AsyncClient, probing: FastAPI, database: Database, how: str, status: int
) -> None:
    tenant = await make_tenant(database)
    for _ in range(2):
        answer = await client.post(f"/probe/{how}", headers=_keyed(tenant), json={})
        assert answer.status_code == status
        assert "Idempotent-Replayed" not in answer.headers
    assert await _count(database, tenant, "events where type = 'probe'") == 0
    assert await _count(database, tenant, "idempotency_keys") == 0


async def test_a_refusal_is_kept_and_its_effect_is_not(
    client: httpx.AsyncClient, probing: FastAPI, database: Database
) -> None:
    tenant = await make_tenant(database)
    first, again = [await client.post("/probe/refused", headers=_keyed(tenant), json={}) for _ in range(2)]
    assert (first.status_code, first.json()["code"]) == (409, "probe_refused")
    assert again.content == first.content
    assert again.headers["content-type"] == "application/problem+json"
    assert again.headers["Idempotent-Replayed"] == "true"
    assert await _count(database, tenant, "events where type = 'probe'") == 0


async def test_a_body_that_does_not_validate_does_not_use_the_key_up(
    client: httpx.AsyncClient, database: Database
) -> None:
    tenant = await make_tenant(database)
    wrong = await client.post("/v1/accounts", headers=_keyed(tenant), json=ACCOUNT | {"colour": "red"})
    assert wrong.status_code == 422
    assert (await client.post("/v1/accounts", headers=_keyed(tenant), json=ACCOUNT)).status_code == 201


async def test_a_key_without_the_scope_learns_nothing(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database, scopes=["events:read"])
    answer = await client.post("/v1/accounts", headers=_keyed(tenant), json=ACCOUNT)
    assert answer.status_code == 403
    assert await _count(database, tenant, "idempotency_keys") == 0


@pytest.mark.parametrize("key", ["", "x" * 256, "with space"])
async def test_a_malformed_key_is_a_422(client: httpx.AsyncClient, database: Database, key: str) -> None:
    tenant = await make_tenant(database)
    answer = await client.post("/v1/accounts", headers=_keyed(tenant, key), json=ACCOUNT)
    assert (answer.status_code, answer.json()["param"]) == (422, "Idempotency-Key")


async def test_a_secret_is_shown_once_and_never_kept(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    body = {"name": "robot", "scopes": ["tenant:read"]}
    first, again = [await client.post("/v1/api_keys", headers=_keyed(tenant), json=body) for _ in range(2)]
    made = first.json()
    assert (again.status_code, again.json()["code"]) == (409, "secret_already_shown")
    assert made["id"] in again.json()["detail"]
    assert await _count(database, tenant, "api_keys where name = 'robot'") == 1
    async with database.tx(tenant.tenant_id) as tx:
        kept = (await tx.execute(text("select k::text from idempotency_keys k"))).scalars().all()
    assert len(kept) == 1
    assert made["secret"].rpartition("_")[2] not in str(kept)
    assert made["secret"].encode().hex() not in str(kept)


async def test_after_a_day_a_key_is_free_and_its_answer_is_pruned(
    client: httpx.AsyncClient, database: Database
) -> None:
    tenant = await make_tenant(database)
    first = await client.post("/v1/accounts", headers=_keyed(tenant), json=ACCOUNT)
    async with database.tx(tenant.tenant_id) as tx:
        kept = (await tx.execute(text("select expires_at - created_at from idempotency_keys"))).scalar_one()
        assert kept == timedelta(hours=24)
        await tx.execute(text("update idempotency_keys set expires_at = clock_timestamp() - interval '1 minute'"))
    again = await client.post("/v1/accounts", headers=_keyed(tenant), json=ACCOUNT)
    assert (again.status_code, again.json()["id"] != first.json()["id"]) == (201, True)
    assert await _count(database, tenant, "idempotency_keys") == 1
    now = datetime.now(UTC)
    await prune(database.dispatch, now=now)
    assert await _count(database, tenant, "idempotency_keys") == 1
    assert await prune(database.dispatch, now=now + timedelta(hours=25)) >= 1
    assert await _count(database, tenant, "idempotency_keys") == 0
