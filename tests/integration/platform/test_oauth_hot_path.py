"""A token for a client itself: one look-up that keeps nothing, no transaction of its own, refused once that is due."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from asgi_lifespan import LifespanManager
from joserfc import jws
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from app.infra.database import Database
from app.infra.settings import Settings
from app.main import create_app
from app.platform.oauth.domain import AuthMethod
from app.platform.oauth.repository import clients_in_force
from app.platform.oauth.service import IssuedClient, Revocations, revoke_client, rotate_secret
from app.platform.oauth.service.ending import Endings
from app.platform.oauth.service.lookup import ClientLookup
from app.platform.tenancy.domain import TenantStatus
from app.platform.tenancy.service import set_status
from tests.factories.oauth import (
    assertion,
    assertion_form,
    basic,
    bearer,
    client_token,
    make_client,
    new_key,
    public_set,
)
from tests.factories.tenants import make_tenant

pytestmark = pytest.mark.asyncio
FORM = {"grant_type": "client_credentials"}


async def _revoked(database: Database, made: IssuedClient) -> None:
    async with database.tx(made.row.tenant_id) as tx:
        await revoke_client(tx, made.row.id, now=datetime.now(UTC))


async def _rotated(database: Database, made: IssuedClient) -> None:
    async with database.tx(made.row.tenant_id) as tx:
        await rotate_secret(tx, made.row.id, now=datetime.now(UTC))


async def _closed(database: Database, made: IssuedClient) -> None:
    async with database.tx(made.row.tenant_id) as tx:
        await Endings(Revocations(None)).end_tenant(tx, now=datetime.now(UTC))  # type: ignore[arg-type]
        tx.forget()  # no mark is published: what refuses must be the look-up


@pytest.mark.parametrize("end", [_revoked, _rotated, _closed])
async def test_what_has_ended_gets_no_token_in_any_process_that_has_just_given_it_one(
    client: httpx.AsyncClient,
    app_settings: Settings,
    database: Database,
    end: Callable[[Database, IssuedClient], Awaitable[None]],
) -> None:
    tenant = await make_tenant(database)
    made = await make_client(database, tenant.tenant_id)
    second = create_app(app_settings)
    async with (
        LifespanManager(second, startup_timeout=30, shutdown_timeout=30),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=second), base_url="http://gateway") as elsewhere,
    ):
        for one in (client, elsewhere):
            assert await client_token(one, made)
        await end(database, made)
        for one in (client, elsewhere):
            refused = await one.post("/oauth2/token", data=FORM, headers=basic(made))
            assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")


async def test_a_suspended_tenants_application_gets_a_token_that_reads_and_exits_only(
    client: httpx.AsyncClient, database: Database
) -> None:
    tenant = await make_tenant(database)
    made = await make_client(database, tenant.tenant_id, scopes=("orders:write", "risk:write", "tenant:read"))
    before = await client_token(client, made)
    async with database.tx(tenant.tenant_id) as tx:
        await set_status(tx, TenantStatus.SUSPENDED)
    for token in (before, await client_token(client, made)):
        assert (await client.get("/v1/tenant", headers=bearer(token))).status_code == 200
        exit_ = await client.post("/v1/orders/nonsense/cancel", headers=bearer(token))
        assert exit_.status_code == 422, "admitted, and there is no such id"
        change = await client.put("/v1/accounts/nonsense/risk_limits/max_order", json={}, headers=bearer(token))
        assert (change.status_code, change.json()["code"]) == (403, "tenant_suspended")


@contextmanager
def _transactions() -> Iterator[list[Session]]:
    """The ORM's transactions that begin meanwhile."""
    begun: list[Session] = []

    def note(session: Session, *_: Any) -> None:
        begun.append(session)

    event.listen(Session, "after_begin", note)
    try:
        yield begun
    finally:
        event.remove(Session, "after_begin", note)


async def test_a_client_that_gets_a_token_for_itself_begins_no_transaction_and_writes_nothing(
    client: httpx.AsyncClient, database: Database
) -> None:
    tenant = await make_tenant(database)
    made = await make_client(database, tenant.tenant_id)
    key = new_key()
    signing = await make_client(database, tenant.tenant_id, method=AuthMethod.PRIVATE_KEY, jwks=public_set(key))
    counted = text(
        "select (select count(*) from oauth_grants), (select count(*) from oauth_refresh_tokens),"
        " (select count(*) from oauth_token_epochs), (select count(*) from oauth_used_assertions),"
        " (select count(*) from events)"
    )
    async with database.tx(tenant.tenant_id) as tx:
        before = tuple((await tx.execute(counted)).one())
    with _transactions() as begun:
        await client_token(client, made)
        await client.post("/oauth2/token", data=FORM, headers=basic(made, "cs_wrong"))
        assert begun == []
        signed = await client.post("/oauth2/token", data=assertion_form(assertion(key, signing.row.client_id)))
        assert (signed.status_code, len(begun)) == (200, 1), "an assertion is used once, which is written"
    async with database.tx(tenant.tenant_id) as tx:
        after = tuple((await tx.execute(counted)).one())
    assert after == (*before[:3], before[3] + 1, before[4])


async def test_the_look_up_finds_clients_by_their_whole_ids_and_leaves_no_tenant_behind(database: Database) -> None:
    tenant, stranger = await make_tenant(database), await make_tenant(database)
    made, theirs = await make_client(database, tenant.tenant_id), await make_client(database, stranger.tenant_id)
    wrong = [made.row.client_id[:-1], made.row.client_id.upper(), "%", "oc_%", ""]
    found = await clients_in_force(database.pool, [made.row.client_id, *wrong, theirs.row.client_id])
    assert [(one.tenant_id, one.id, one.client_epoch) for one in found.values()] == [
        (tenant.tenant_id, made.row.id, 0),
        (stranger.tenant_id, theirs.row.id, 0),
    ]
    assert made.row.secret_hash is not None
    assert str(made.row.secret_hash) not in repr(found)
    async with database.pool.acquire() as connection:
        row = await connection.fetchrow("select tenant from oauth_client_in_force($1)", theirs.row.client_id)
        assert row["tenant"] == stranger.tenant_id
        assert await connection.fetchval("select count(*) from oauth_clients") == 0
    async with database.tx(tenant.tenant_id) as tx:
        await revoke_client(tx, made.row.id, now=datetime.now(UTC))
    assert list(await clients_in_force(database.pool, [made.row.client_id, theirs.row.client_id])) == [
        theirs.row.client_id
    ]


class _Held:
    """The database's pool, whose answers wait until they are let go."""

    def __init__(self, database: Database) -> None:
        self._pool = database.pool
        self.asked: list[list[str]] = []
        self.answered, self.go = asyncio.Semaphore(0), asyncio.Semaphore(0)
        self.broken = False

    async def fetch(self, statement: str, client_ids: list[str]) -> Any:
        self.asked.append(client_ids)
        if self.broken:
            raise ConnectionError("away")
        rows = await self._pool.fetch(statement, client_ids)
        self.answered.release()
        await self.go.acquire()
        return rows


async def test_clients_asked_for_meanwhile_share_the_next_question_which_sees_what_ended_meanwhile(
    database: Database,
) -> None:
    tenant = await make_tenant(database)
    made = [await make_client(database, tenant.tenant_id) for _ in range(3)]
    ids = [one.row.client_id for one in made]
    held = _Held(database)
    lookup = ClientLookup(held)
    first = asyncio.create_task(lookup.client(ids[0]))
    await held.answered.acquire()
    later = [asyncio.create_task(lookup.client(one)) for one in ids * 5]
    await asyncio.sleep(0)
    await _revoked(database, made[0])
    held.go.release()
    held.go.release()
    known = await first
    assert known is not None, "it was in force when it was asked for"
    assert known.id == made[0].row.id
    assert [one and one.id for one in await asyncio.gather(*later)] == [None, made[1].row.id, made[2].row.id] * 5
    assert held.asked == [[ids[0]], ids]


async def test_a_question_that_fails_fails_who_waits_for_it_and_nobody_else(database: Database) -> None:
    tenant = await make_tenant(database)
    made = await make_client(database, tenant.tenant_id)
    held = _Held(database)
    lookup = ClientLookup(held)
    gone, stays = [asyncio.create_task(lookup.client(made.row.client_id)) for _ in range(2)]
    await held.answered.acquire()
    gone.cancel()
    late = asyncio.create_task(lookup.client(made.row.client_id))
    await asyncio.sleep(0)
    held.broken = True
    held.go.release()
    assert await stays is not None, "who went away took nobody with him"
    with pytest.raises(ConnectionError):
        await late
    held.broken = False
    held.go.release()
    assert await lookup.client(made.row.client_id) is not None


async def test_tokens_asked_for_at_once_are_each_their_own_clients(
    client: httpx.AsyncClient, database: Database
) -> None:
    tenants = [await make_tenant(database) for _ in range(4)]
    made = [await make_client(database, one.tenant_id) for one in tenants for _ in range(2)]
    wrong = [basic(one, "cs_wrong") for one in made]
    answers = await asyncio.gather(
        *(client.post("/oauth2/token", data=FORM, headers=headers) for headers in (*map(basic, made), *wrong))
    )
    assert [answer.status_code for answer in answers] == [200] * 8 + [401] * 8
    claims = [json.loads(jws.extract_compact(one.json()["access_token"].encode()).payload) for one in answers[:8]]
    assert [one["client_id"] for one in claims] == [one.row.client_id for one in made]
    assert len({one["jti"] for one in claims}) == 8
