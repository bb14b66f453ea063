"""Risk limits through the API: what holds, who said so, and what cannot be set."""

from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from app.infra.database import Database
from app.kernel.ids import encode_id
from tests.factories.tenants import TenantWithKey, make_key, make_tenant


async def _open(api: httpx.AsyncClient, tenant: TenantWithKey) -> str:
    body = {"name": "a", "currency": "USD", "opening_balance": "10000.00"}
    account: str = (await api.post("/v1/accounts", headers=tenant.headers, json=body)).json()["id"]
    return f"/v1/accounts/{account}/risk_limits"


async def test_a_limit_is_set_listed_and_cleared(
    api: httpx.AsyncClient, tenant: TenantWithKey, database: Database
) -> None:
    path = await _open(api, tenant)
    listed = (await api.get(path, headers=tenant.headers)).json()
    assert listed["has_more"] is False
    default = {one["rule"]: one for one in listed["data"]}
    assert {one["source"] for one in default.values()} == {"default"}
    body = {"parameters": {"limit": "12.50"}}
    answer = await api.put(f"{path}/max_order_value", headers=tenant.headers, json=body)
    assert (answer.status_code, answer.json()) == (200, {"rule": "max_order_value", **body, "source": "account"})
    now = {one["rule"]: one for one in (await api.get(path, headers=tenant.headers)).json()["data"]}
    assert now == default | {"max_order_value": answer.json()}
    for _ in range(2):
        cleared = await api.delete(f"{path}/max_order_value", headers=tenant.headers)
        assert (cleared.status_code, cleared.json()) == (200, default["max_order_value"])
    async with database.tx(tenant.tenant_id) as tx:
        events = await tx.scalars(text("select type from events where type like 'risk%' order by id"))
        assert events.all() == ["risk_limit.set", "risk_limit.cleared"]


@pytest.mark.parametrize(
    ("rule", "parameters", "param"),
    [
        ("no_such_rule", {}, "rule"),
        ("max_order_value", {"limit": "-1"}, "parameters.limit"),
        ("max_order_value", {"limit": 5}, "parameters.limit"),
        ("max_order_value", {"limit": "1e3"}, "parameters.limit"),
        ("max_open_orders", {"limit": "5"}, "parameters.limit"),
        ("max_open_orders", {"limit": 5.0}, "parameters.limit"),
        ("max_open_orders", {"limit": True}, "parameters.limit"),
        ("max_open_orders", {"limits": 5}, "parameters.limits"),
        ("price_collar", {"limit_bps": 10_001}, "parameters.limit_bps"),
    ],
)
async def test_a_limit_that_makes_no_sense_names_its_parameter(
    api: httpx.AsyncClient, tenant: TenantWithKey, rule: str, parameters: dict[str, Any], param: str
) -> None:
    path = await _open(api, tenant)
    answer = await api.put(f"{path}/{rule}", headers=tenant.headers, json={"parameters": parameters})
    assert (answer.status_code, answer.json()["param"]) == (422, param), answer.text
    listed = (await api.get(path, headers=tenant.headers)).json()["data"]
    assert {one["source"] for one in listed} == {"default"}


async def test_limits_need_their_scopes_and_an_account_of_ones_own(
    api: httpx.AsyncClient, tenant: TenantWithKey, database: Database
) -> None:
    path = await _open(api, tenant)
    body = {"parameters": {"limit": "1.00"}}
    reader = await make_key(database, tenant.tenant_id, scopes=["risk:read"])
    assert (await api.get(path, headers=reader.headers)).status_code == 200
    assert (await api.put(f"{path}/max_position", headers=reader.headers, json=body)).status_code == 403
    stranger = await make_tenant(database)
    nowhere = f"/v1/accounts/{encode_id('acc', uuid4())}/risk_limits"
    for headers, where in ((stranger.headers, path), (tenant.headers, nowhere)):
        answers = [
            await api.get(where, headers=headers),
            await api.put(f"{where}/max_position", headers=headers, json=body),
            await api.delete(f"{where}/max_position", headers=headers),
        ]
        assert [(a.status_code, a.json()["code"]) for a in answers] == [(404, "account_not_found")] * 3
