"""ETag, If-None-Match and If-Match: what is known is not sent again, and no change of somebody else's is lost."""

import asyncio

import httpx
import pytest

from tests.factories.tenants import TenantWithKey

pytestmark = pytest.mark.asyncio


async def _limit(api: httpx.AsyncClient, tenant: TenantWithKey) -> str:
    body = {"name": "a", "currency": "USD", "opening_balance": "10000.00"}
    account = (await api.post("/v1/accounts", headers=tenant.headers, json=body)).json()["id"]
    return f"/v1/accounts/{account}/risk_limits/max_order_value"


def _put(value: str) -> dict[str, dict[str, str]]:
    return {"parameters": {"limit": value}}


async def test_what_the_caller_has_is_a_304(api: httpx.AsyncClient, tenant: TenantWithKey) -> None:
    first = await api.get("/v1/tenant", headers=tenant.headers)
    tag = first.headers["ETag"]
    assert tag.startswith('"') and tag.endswith('"')
    for asked in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await api.get("/v1/tenant", headers=tenant.headers | {"If-None-Match": asked})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    fresh = await api.get("/v1/tenant", headers=tenant.headers | {"If-None-Match": '"other"'})
    assert (fresh.status_code, fresh.json()) == (200, first.json())


async def test_a_304_needs_the_key_like_everything_else(api: httpx.AsyncClient, tenant: TenantWithKey) -> None:
    assert (await api.get("/v1/tenant", headers={"If-None-Match": "*"})).status_code == 401


async def test_a_write_that_knows_the_present_state_goes_through(api: httpx.AsyncClient, tenant: TenantWithKey) -> None:
    path = await _limit(api, tenant)
    tag = (await api.get(path, headers=tenant.headers)).headers["ETag"]
    written = await api.put(path, headers=tenant.headers | {"If-Match": tag}, json=_put("500.00"))
    assert written.status_code == 200, written.text
    now = (await api.get(path, headers=tenant.headers)).headers["ETag"]
    assert now != tag
    cleared = await api.delete(path, headers=tenant.headers | {"If-Match": now})
    assert cleared.status_code == 200
    assert (await api.get(path, headers=tenant.headers)).headers["ETag"] == tag


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_a_stale_write_is_a_412_and_changes_nothing(
    api: httpx.AsyncClient, tenant: TenantWithKey, method: str
) -> None:
    path = await _limit(api, tenant)
    stale = (await api.get(path, headers=tenant.headers)).headers["ETag"]
    await api.put(path, headers=tenant.headers, json=_put("500.00"))
    for given in (stale, f"W/{stale}", '"nonsense"'):
        body = _put("900.00") if method == "PUT" else None
        answer = await api.request(method, path, headers=tenant.headers | {"If-Match": given}, json=body)
        assert (answer.status_code, answer.json()["code"]) == (412, "precondition_failed")
    assert (await api.get(path, headers=tenant.headers)).json()["parameters"] == {"limit": "500.00"}


async def test_of_many_that_know_the_same_state_one_writes(api: httpx.AsyncClient, tenant: TenantWithKey) -> None:
    path = await _limit(api, tenant)
    headers = tenant.headers | {"If-Match": (await api.get(path, headers=tenant.headers)).headers["ETag"]}
    answers = await asyncio.gather(*(api.put(path, headers=headers, json=_put(f"{n}.00")) for n in range(500, 508)))
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7
    (won,) = [answer.json() for answer in answers if answer.status_code == 200]
    assert (await api.get(path, headers=tenant.headers)).json() == won


async def test_a_deployment_is_paused_only_as_it_is_known(api: httpx.AsyncClient, tenant: TenantWithKey) -> None:
    account = (await _limit(api, tenant)).split("/")[3]
    found = await api.get("/v1/instruments", headers=tenant.headers, params={"symbol": "AAPL"})
    made = await api.post("/v1/strategies", headers=tenant.headers, json={"name": "s", "template": "momentum"})
    body = {"strategy_id": made.json()["id"], "account_id": account, "instruments": [found.json()["data"][0]["id"]]}
    path = f"/v1/deployments/{(await api.post('/v1/deployments', headers=tenant.headers, json=body)).json()['id']}"
    known = tenant.headers | {"If-Match": (await api.get(path, headers=tenant.headers)).headers["ETag"]}
    assert (await api.post(f"{path}/pause", headers=known)).json()["status"] == "paused"
    refused = await api.post(f"{path}/resume", headers=known)
    assert (refused.status_code, refused.json()["code"]) == (412, "precondition_failed")
    assert (await api.get(path, headers=tenant.headers)).json()["status"] == "paused"
