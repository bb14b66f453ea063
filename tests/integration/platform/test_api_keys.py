"""API keys through the API: made once, listed, revoked, and refused in every wrong form."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from app.infra.database import Database, open_database
from app.infra.settings import Settings
from app.kernel.errors import DomainError
from app.kernel.orders import Mode
from app.platform.identity.service import KeyAuthenticator
from app.platform.identity.service.authentication import CACHE_SECONDS
from tests.factories.logins import logged_in
from tests.factories.members import make_person
from tests.factories.tenants import make_key, make_tenant

pytestmark = pytest.mark.asyncio
NOW = datetime(2026, 1, 5, tzinfo=UTC)


class Clock:
    """A monotonic clock that tests wind."""

    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


async def test_a_key_is_shown_once_and_then_opens_the_api(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    made = await client.post(
        "/v1/api_keys", headers=tenant.headers, json={"name": "robot", "scopes": ["tenant:read", "tenant:read"]}
    )
    assert made.status_code == 201, made.text
    secret = made.json()["secret"]
    assert secret.startswith(f"sk_test_in1_{made.json()['key_id']}_")
    answer = await client.get("/v1/tenant", headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    listed = (await client.get("/v1/api_keys", headers=tenant.headers)).json()
    assert next(key["scopes"] for key in listed["data"]) == ["tenant:read"]
    assert "secret" not in listed["data"][0]


async def test_the_database_holds_no_secret(
    client: httpx.AsyncClient, database: Database, app_settings: Settings
) -> None:
    tenant = await make_tenant(database)
    secret_part = tenant.secret.rpartition("_")[2]
    async with database.tx(tenant.tenant_id) as tx:
        from sqlalchemy import text

        for table in ("api_keys", "events"):
            rows = (await tx.execute(text(f"SELECT t::text FROM {table} t"))).scalars().all()
            assert rows
            assert not [row for row in rows if secret_part in row]


async def test_unknown_keys_and_wrong_secrets_get_the_same_answer(
    client: httpx.AsyncClient, database: Database
) -> None:
    tenant = await make_tenant(database)
    head, _, secret = tenant.secret.rpartition("_")
    wrong_secret = f"{head}_{secret[:-1]}{'0' if secret[-1] != '0' else '1'}"
    unknown = f"sk_test_in1_{'z' * 12}_{secret}"
    answers = [
        (await client.get("/v1/tenant", headers={"Authorization": f"Bearer {key}"})) for key in (wrong_secret, unknown)
    ]
    bodies = [answer.json() | {"request_id": ""} for answer in answers]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert bodies[0] == bodies[1]
    assert bodies[0]["code"] == "invalid_api_key"
    assert answers[0].headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("credential", "code"),
    [
        ("Bearer sk_test_in1_short", "malformed_api_key"),
        ("Bearer 'quoted'", "malformed_api_key"),
        ("Basic dXNlcjpwYXNz", "missing_credential"),
        (f"Bearer sk_test_us2_{'a' * 12}_{'a' * 52}", "wrong_cell"),
        (f"Bearer sk_test_in1_{'a' * 12}_{'a' * 52}", "invalid_api_key"),
        (f"Bearer sk_test_in1_{'u' * 12}_{'a' * 52}", "malformed_api_key"),
        ("Bearer \u0663", "malformed_api_key"),
    ],
)
async def test_a_bad_credential_is_a_401_that_says_what_a_key_looks_like(
    client: httpx.AsyncClient, credential: str, code: str
) -> None:
    answer = await client.get("/v1/tenant", headers={b"Authorization": credential.encode()})
    assert answer.status_code == 401
    assert answer.json()["code"] == code
    assert "sk_" in answer.json()["detail"] or code in ("wrong_cell", "invalid_api_key")
    assert credential.removeprefix("Bearer ") not in answer.text


async def test_no_credential_is_a_401(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/tenant")
    assert answer.status_code == 401
    assert answer.json()["code"] == "missing_credential"


async def test_a_mode_written_into_another_key_does_not_open_it(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    live = tenant.secret.replace("sk_test", "sk_live")
    answer = await client.get("/v1/tenant", headers={"Authorization": f"Bearer {live}"})
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_api_key")


async def test_an_expired_key_is_refused(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database, now=NOW, expires_at=NOW + timedelta(minutes=1))
    answer = await client.get("/v1/tenant", headers=tenant.headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "api_key_expired")


async def test_a_revoked_key_stops_within_the_cache_time_and_not_later(database: Database) -> None:
    clock = Clock()
    authenticator = KeyAuthenticator(database, cell="in1", monotonic=clock)
    tenant = await make_tenant(database)
    assert (await authenticator.authenticate(tenant.secret, now=NOW)).tenant_id == tenant.tenant_id
    from app.platform.identity.service import revoke_key

    async with database.tx(tenant.tenant_id) as tx:
        await revoke_key(tx, tenant.key_row, now=NOW)
    clock.seconds += CACHE_SECONDS - 0.01
    await authenticator.authenticate(tenant.secret, now=NOW)
    clock.seconds += 0.02
    with pytest.raises(DomainError) as refused:
        await authenticator.authenticate(tenant.secret, now=NOW)
    assert refused.value.code == "api_key_revoked"


async def test_a_key_that_is_in_use_is_read_anew_beside_the_requests(
    database: Database, app_settings: Settings
) -> None:
    clock, own = Clock(), await open_database(app_settings, on_commit=lambda queue, shard: None)
    authenticator = KeyAuthenticator(own, cell="in1", monotonic=clock)
    busy, once = await make_tenant(database), await make_tenant(database)
    for tenant in (busy, once, busy):
        await authenticator.authenticate(tenant.secret, now=NOW)
    clock.seconds += CACHE_SECONDS - 1
    await authenticator.refresh()
    await own.close()  # whoever asks the database from here on fails
    clock.seconds += CACHE_SECONDS - 0.1
    assert (await authenticator.authenticate(busy.secret, now=NOW)).tenant_id == busy.tenant_id
    with pytest.raises(Exception, match="closed"):
        await authenticator.authenticate(once.secret, now=NOW)
    clock.seconds += 0.2
    with pytest.raises(Exception, match="closed"):
        await authenticator.authenticate(busy.secret, now=NOW)


async def test_of_many_keys_that_are_read_anew_those_that_were_revoked_stop(database: Database) -> None:
    clock = Clock()
    authenticator = KeyAuthenticator(database, cell="in1", monotonic=clock)
    kept, gone = await make_tenant(database), await make_tenant(database)
    for tenant in (kept, gone) * 2:
        await authenticator.authenticate(tenant.secret, now=NOW)
    from app.platform.identity.service import revoke_key

    async with database.tx(gone.tenant_id) as tx:
        await revoke_key(tx, gone.key_row, now=NOW)
    await authenticator.refresh()  # none is due yet
    await authenticator.authenticate(gone.secret, now=NOW)
    clock.seconds += CACHE_SECONDS - 1
    await authenticator.refresh()
    assert (await authenticator.authenticate(kept.secret, now=NOW)).tenant_id == kept.tenant_id
    with pytest.raises(DomainError) as refused:
        await authenticator.authenticate(gone.secret, now=NOW)
    assert refused.value.code == "api_key_revoked"


async def test_use_is_noted_in_batches(database: Database) -> None:
    authenticator = KeyAuthenticator(database, cell="in1")
    tenants = [await make_tenant(database) for _ in range(2)]
    for tenant in tenants:
        await asyncio.gather(*(authenticator.authenticate(tenant.secret, now=NOW) for _ in range(5)))
    await authenticator.flush()
    from app.platform.identity.tables import ApiKey

    for tenant in tenants:
        async with database.tx(tenant.tenant_id) as tx:
            row = await tx.get(ApiKey, tenant.key_row)
            assert row is not None
            assert row.last_used_at == NOW


async def test_use_that_could_not_be_noted_is_noted_the_next_time(
    database: Database, app_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.platform.identity.tables import ApiKey

    tenant = await make_tenant(database)
    away = await open_database(app_settings, on_commit=lambda queue, shard: None)
    authenticator = KeyAuthenticator(away, cell="in1")
    await authenticator.authenticate(tenant.secret, now=NOW)
    await away.close()
    with pytest.raises(Exception, match="closed"):
        await authenticator.flush()
    monkeypatch.setattr(authenticator, "_database", database)
    await authenticator.flush()
    async with database.tx(tenant.tenant_id) as tx:
        row = await tx.get(ApiKey, tenant.key_row)
    assert row is not None
    assert row.last_used_at == NOW


async def test_a_key_grants_only_what_it_holds(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database, scopes=["api_keys:write", "tenant:read"])
    beyond = await client.post(
        "/v1/api_keys", headers=tenant.headers, json={"name": "more", "scopes": ["tenant:read", "orders:write"]}
    )
    assert (beyond.status_code, beyond.json()["code"]) == (403, "scope_not_held")
    assert "orders:write" in beyond.json()["detail"]
    unknown = await client.post("/v1/api_keys", headers=tenant.headers, json={"name": "x", "scopes": ["orders:rite"]})
    assert (unknown.status_code, unknown.json()["param"]) == (422, "scopes")


async def test_no_key_makes_a_live_key_only_a_person_who_just_logged_in(
    client: httpx.AsyncClient, gateway_app: FastAPI, database: Database
) -> None:
    tenant = await make_tenant(database, mode=Mode.LIVE)
    owner = await make_person(database, tenant.tenant_id, mode=Mode.LIVE)
    body = {"name": "x", "scopes": ["tenant:read"]}
    for headers in (tenant.headers, owner.headers):
        by_key = await client.post("/v1/api_keys", headers=headers, json=body)
        assert (by_key.status_code, by_key.json()["code"]) == (403, "login_needed")
    stale = await logged_in(gateway_app, database, owner, ago=timedelta(minutes=11))
    late = await client.post("/v1/api_keys", headers=stale, json=body)
    assert (late.status_code, late.json()["code"]) == (401, "insufficient_user_authentication")
    assert "max_age=600" in late.headers["WWW-Authenticate"]
    made = await client.post("/v1/api_keys", headers=await logged_in(gateway_app, database, owner), json=body)
    assert (made.status_code, made.json()["mode"]) == (201, "live"), made.text
    assert made.json()["secret"].startswith("sk_live_in1_")


async def test_a_test_token_makes_a_lasting_key_only_just_after_the_login(
    client: httpx.AsyncClient, gateway_app: FastAPI, database: Database
) -> None:
    tenant = await make_tenant(database)
    owner = await make_person(database, tenant.tenant_id)
    body = {"name": "x", "scopes": ["tenant:read"]}
    stale = await logged_in(gateway_app, database, owner, ago=timedelta(minutes=11))
    assert (await client.post("/v1/api_keys", headers=stale, json=body)).status_code == 401
    fresh = await logged_in(gateway_app, database, owner)
    assert (await client.post("/v1/api_keys", headers=fresh, json=body)).json()["mode"] == "test"
    assert (await client.post("/v1/api_keys", headers=owner.headers, json=body)).json()["mode"] == "test"


async def test_revoking_through_the_api_is_final_and_repeatable(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    made = await client.post("/v1/api_keys", headers=tenant.headers, json={"name": "x", "scopes": ["tenant:read"]})
    path = f"/v1/api_keys/{made.json()['id']}"
    first = await client.delete(path, headers=tenant.headers)
    second = await client.delete(path, headers=tenant.headers)
    assert first.status_code == second.status_code == 200
    assert first.json()["revoked_at"] == second.json()["revoked_at"] is not None
    answer = await client.get("/v1/tenant", headers={"Authorization": f"Bearer {made.json()['secret']}"})
    assert answer.json()["code"] == "api_key_revoked"


async def test_the_lookup_function_belongs_to_the_lookup_role_and_only_the_app_may_call_it(
    database: Database, app_settings: Settings
) -> None:
    row = await database.pool.fetchrow(
        "select pg_get_userbyid(proowner)::text as owner, prosecdef, proconfig from pg_proc"
        " where proname = 'identity_api_key'"
    )
    assert row is not None
    assert (row["owner"], row["prosecdef"], row["proconfig"]) == (
        "mandi_lookup",
        True,
        ["search_path=public, pg_temp"],
    )
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await database.dispatch.fetch("select * from identity_api_key('x')")


async def test_pages_of_keys_walk_both_ways(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    for _ in range(4):
        await make_key(database, tenant.tenant_id, scopes=["tenant:read"])
    whole = (await client.get("/v1/api_keys", headers=tenant.headers)).json()
    ids = [key["id"] for key in whole["data"]]
    assert len(ids) == 5 and ids == sorted(ids, reverse=True) and not whole["has_more"]

    async def page(**query: str) -> tuple[list[str], bool]:
        body = (await client.get("/v1/api_keys", headers=tenant.headers, params={"limit": "2", **query})).json()
        return [key["id"] for key in body["data"]], body["has_more"]

    assert await page() == (ids[:2], True)
    assert await page(starting_after=ids[1]) == (ids[2:4], True)
    assert await page(starting_after=ids[3]) == (ids[4:], False)
    assert await page(ending_before=ids[4]) == (ids[2:4], True)
    assert await page(ending_before=ids[2]) == (ids[:2], False)
