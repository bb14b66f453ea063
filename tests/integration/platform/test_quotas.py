"""Quotas by number: exact in the transaction of their effect, released with it, and the month's calls in batches."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import pytest

from app.infra.database import Database, open_database
from app.infra.settings import Settings
from app.kernel.errors import DomainError
from app.kernel.ids import encode_id
from app.platform.identity.service import create_key, revoke_key
from app.platform.plans.domain import QuotaName
from app.platform.plans.service import TenantQuotas, allowances, consume, entitlements, release
from tests.factories.entitlements import limit_tenant
from tests.factories.tenants import TenantWithKey, make_tenant

pytestmark = pytest.mark.asyncio
CELLS, CALLS, ACCOUNTS = QuotaName.BACKTEST_CELLS, QuotaName.API_CALLS, QuotaName.ACCOUNTS


async def _used(database: Database, tenant_id: UUID, name: QuotaName, *, now: datetime | None = None) -> int:
    async with database.tx(tenant_id) as tx:
        return (await entitlements(tx, now=now)).used.get(name, 0)


async def _take(database: Database, tenant_id: UUID, name: QuotaName, amount: int = 1) -> bool:
    try:
        async with database.tx(tenant_id) as tx:
            await consume(tx, name, amount)
    except DomainError as error:
        assert error.code == "quota_exceeded"
        return False
    return True


async def test_however_many_ask_at_once_exactly_the_limit_is_given(database: Database) -> None:
    tenant = await make_tenant(database)
    await limit_tenant(database, tenant.tenant_id, accounts=10)
    given = await asyncio.gather(*(_take(database, tenant.tenant_id, ACCOUNTS) for _ in range(60)))
    assert sum(given) == 10
    assert await _used(database, tenant.tenant_id, ACCOUNTS) == 10


async def test_what_is_rolled_back_was_not_used(database: Database) -> None:
    tenant = await make_tenant(database)
    with pytest.raises(ZeroDivisionError):
        async with database.tx(tenant.tenant_id) as tx:
            await consume(tx, CELLS, 500)
            raise ZeroDivisionError
    assert await _used(database, tenant.tenant_id, CELLS) == 0


async def test_an_amount_passes_whole_or_not_at_all(database: Database) -> None:
    tenant = await make_tenant(database)
    await limit_tenant(database, tenant.tenant_id, backtest_cells=100)
    assert await _take(database, tenant.tenant_id, CELLS, 60)
    assert not await _take(database, tenant.tenant_id, CELLS, 41)
    assert await _take(database, tenant.tenant_id, CELLS, 40)
    assert not await _take(database, tenant.tenant_id, CELLS, 1_000)
    assert await _used(database, tenant.tenant_id, CELLS) == 100


async def test_a_new_month_begins_at_zero(database: Database) -> None:
    tenant = await make_tenant(database)
    await limit_tenant(database, tenant.tenant_id, backtest_cells=5)
    for at in (datetime(2026, 1, 31, 23, 59, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)):
        async with database.tx(tenant.tenant_id) as tx:
            await consume(tx, CELLS, 5, now=at)
        with pytest.raises(DomainError):
            async with database.tx(tenant.tenant_id) as tx:
                await consume(tx, CELLS, 1, now=at)
        assert await _used(database, tenant.tenant_id, CELLS, now=at) == 5


async def test_what_is_released_can_be_used_again(database: Database) -> None:
    tenant = await make_tenant(database)
    await limit_tenant(database, tenant.tenant_id, accounts=1)
    assert await _take(database, tenant.tenant_id, ACCOUNTS)
    assert not await _take(database, tenant.tenant_id, ACCOUNTS)
    async with database.tx(tenant.tenant_id) as tx:
        await release(tx, ACCOUNTS)
    assert await _take(database, tenant.tenant_id, ACCOUNTS)


async def test_what_a_month_used_up_is_never_given_back(database: Database) -> None:
    tenant = await make_tenant(database)
    async with database.tx(tenant.tenant_id) as tx:
        with pytest.raises(ValueError, match="never given back"):
            await release(tx, CELLS)


async def test_one_tenants_use_is_no_other_tenants(database: Database) -> None:
    first, second = await make_tenant(database), await make_tenant(database)
    for tenant in (first, second):
        await limit_tenant(database, tenant.tenant_id, accounts=1)
        assert await _take(database, tenant.tenant_id, ACCOUNTS)
    assert await _used(database, second.tenant_id, ACCOUNTS) == 1


async def test_a_key_too_many_is_refused_until_one_is_revoked(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    await limit_tenant(database, tenant.tenant_id, api_keys=2)
    body = {"name": "robot", "scopes": ["bars:read"]}
    made = await client.post("/v1/api_keys", headers=tenant.headers, json=body)
    assert made.status_code == 201
    refused = await client.post("/v1/api_keys", headers=tenant.headers, json=body)
    assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
    assert refused.json()["param"] == "api_keys"
    assert refused.json()["detail"] == (
        "api_keys allows 2; 2 are used and this needs 1. It does not reset: remove one that you have. "
        "The plan free has more."
    )
    await client.delete(f"/v1/api_keys/{made.json()['id']}", headers=tenant.headers)
    assert (await client.post("/v1/api_keys", headers=tenant.headers, json=body)).status_code == 201


async def test_a_key_that_two_revoke_at_once_frees_one_place(database: Database) -> None:
    tenant = await make_tenant(database)
    async with database.tx(tenant.tenant_id) as tx:
        row = (await create_key(tx, name="x", scopes=["bars:read"], cell="in1", now=datetime.now(UTC))).row

    async def revoke() -> None:
        async with database.tx(tenant.tenant_id) as tx:
            await revoke_key(tx, row.id, now=datetime.now(UTC))

    await asyncio.gather(*(revoke() for _ in range(8)))
    assert await _used(database, tenant.tenant_id, QuotaName.API_KEYS) == 1


async def test_an_account_too_many_is_refused(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    await limit_tenant(database, tenant.tenant_id, accounts=1)
    body = {"name": "One", "currency": "USD", "opening_balance": "1000.00"}
    answers = [await client.post("/v1/accounts", headers=tenant.headers, json=body) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 429], answers[0].text
    assert answers[1].json()["param"] == "accounts"


async def test_usage_shows_each_quota_its_limit_and_its_reset(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    await limit_tenant(database, tenant.tenant_id, backtest_cells=100, accounts=None)
    assert await _take(database, tenant.tenant_id, CELLS, 40)
    body = (await client.get("/v1/usage", headers=tenant.headers)).json()
    shown = {one["name"]: one for one in body["data"]}
    assert set(shown) == {name.value for name in QuotaName}
    cells = shown["backtest_cells"]
    assert (cells["used"], cells["limit"]) == (40, 100)
    reset = datetime.fromisoformat(cells["resets_at"])
    assert (reset.day, reset.hour) == (1, 0)
    assert datetime.now(UTC) < reset <= datetime.now(UTC) + timedelta(days=31)
    assert shown["accounts"] == {
        "name": "accounts", "period": "standing", "used": 0, "limit": None, "resets_at": None
    }  # fmt: skip
    assert shown["api_keys"]["used"] == 1


async def test_calls_are_written_in_batches_and_none_is_counted_twice(database: Database) -> None:
    tenant, now = await make_tenant(database), datetime.now(UTC)
    processes = [TenantQuotas(database), TenantQuotas(database)]
    for quotas in processes:
        await quotas.allowance(tenant.tenant_id, now=now)
        for _ in range(7):
            quotas.count_call(tenant.tenant_id, 1, now=now, refuse=True)
    assert await _used(database, tenant.tenant_id, CALLS) == 0
    for _ in range(2):
        await asyncio.gather(*(quotas.flush() for quotas in processes))
    assert await _used(database, tenant.tenant_id, CALLS) == 14


async def test_the_calls_of_many_tenants_are_each_ones_own(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowances, "FLUSH_TENANTS", 2)
    tenants, now = [await make_tenant(database) for _ in range(5)], datetime.now(UTC)
    quotas = TenantQuotas(database)
    for turn in (1, 2):
        for calls, tenant in enumerate(tenants, 1):
            await quotas.allowance(tenant.tenant_id, now=now)
            quotas.count_call(tenant.tenant_id, calls, now=now, refuse=True)
        await quotas.flush()
        assert [await _used(database, tenant.tenant_id, CALLS) for tenant in tenants] == [turn * n for n in range(1, 6)]
        assert [quotas.unwritten(tenant.tenant_id) for tenant in tenants] == [0] * 5


async def test_calls_beyond_the_month_are_refused_but_orders_are_not(database: Database) -> None:
    tenant, now = await make_tenant(database), datetime.now(UTC)
    await limit_tenant(database, tenant.tenant_id, api_calls=3)
    quotas = TenantQuotas(database)
    await quotas.allowance(tenant.tenant_id, now=now)
    for _ in range(3):
        quotas.count_call(tenant.tenant_id, 1, now=now, refuse=True)
    with pytest.raises(DomainError, match="api_calls allows 3; 3 are used and this needs 1"):
        quotas.count_call(tenant.tenant_id, 1, now=now, refuse=True)
    quotas.count_call(tenant.tenant_id, 1, now=now, refuse=False)
    await quotas.flush()
    assert await _used(database, tenant.tenant_id, CALLS) == 4
    with pytest.raises(DomainError):
        quotas.count_call(tenant.tenant_id, 1, now=now, refuse=True)


async def test_calls_that_could_not_be_written_are_kept(database: Database, app_settings: Settings) -> None:
    tenant, now = await make_tenant(database), datetime.now(UTC)
    other = await open_database(app_settings, on_commit=lambda queue, shard: None)
    quotas = TenantQuotas(other)
    await quotas.allowance(tenant.tenant_id, now=now)
    quotas.count_call(tenant.tenant_id, 5, now=now, refuse=True)
    await other.close()
    with pytest.raises(Exception, match="closed"):
        await quotas.flush()
    assert quotas.unwritten(tenant.tenant_id) == 5


async def test_the_entitlements_of_tenants_who_call_are_read_anew_beside_the_requests(
    database: Database, app_settings: Settings
) -> None:
    clock, now = [100.0], datetime.now(UTC)
    own = await open_database(app_settings, on_commit=lambda queue, shard: None)
    quotas = TenantQuotas(own, monotonic=lambda: clock[0])
    busy, other, once = [(await make_tenant(database)).tenant_id for _ in range(3)]
    for tenant_id in (busy, other, once, busy, other):
        await quotas.allowance(tenant_id, now=now)
    await limit_tenant(database, busy, api_calls=1)
    clock[0] += allowances.CACHE_SECONDS - 1
    await quotas.refresh()
    await own.close()  # whoever asks the database from here on fails
    clock[0] += allowances.CACHE_SECONDS - 0.1
    for tenant_id in (busy, other):
        await quotas.allowance(tenant_id, now=now)
    for _ in range(2):
        quotas.count_call(other, 1, now=now, refuse=True)
    quotas.count_call(busy, 1, now=now, refuse=True)
    with pytest.raises(DomainError, match="api_calls allows 1"):
        quotas.count_call(busy, 1, now=now, refuse=True)
    with pytest.raises(Exception, match="closed"):
        await quotas.allowance(once, now=now)
    clock[0] += 0.2
    with pytest.raises(Exception, match="closed"):
        await quotas.allowance(busy, now=now)


async def test_a_month_that_is_used_up_leaves_exits_open(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    await limit_tenant(database, tenant.tenant_id, api_calls=2)
    codes = [(await client.get("/v1/tenant", headers=tenant.headers)).status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    refused = await client.get("/v1/tenant", headers=tenant.headers)
    assert refused.json()["code"] == "quota_exceeded"
    assert await _cancelled(client, tenant) == 404  # looked for, so it was let through


async def _cancelled(client: httpx.AsyncClient, tenant: TenantWithKey) -> int:
    order = encode_id("ord", tenant.tenant_id)
    return (await client.post(f"/v1/orders/{order}/cancel", headers=tenant.headers)).status_code
