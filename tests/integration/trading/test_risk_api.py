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
    shown = {"rule": "max_order_value", **body, "source": "account", "own": body["parameters"]}
    assert (answer.status_code, answer.json()) == (200, shown)
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


async def _made(api: httpx.AsyncClient, tenant: TenantWithKey, path: str, **body: Any) -> str:
    answer = await api.post(path, headers=tenant.headers, json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def _scopes(api: httpx.AsyncClient, tenant: TenantWithKey) -> list[tuple[str, str]]:
    """Tenant, a client of it, its account and what is deployed there, the outermost first: level and path of limits."""
    client = await _made(api, tenant, "/v1/clients", external_ref="c1", name="C")
    account = await _made(
        api, tenant, "/v1/accounts", name="a", currency="USD", opening_balance="10000.00", client_id=client
    )
    strategy = await _made(api, tenant, "/v1/strategies", name="s", template="buy_and_hold", parameters={})
    found = (await api.get("/v1/instruments?symbol=AAPL", headers=tenant.headers)).json()["data"]
    deployment = await _made(
        api, tenant, "/v1/deployments", strategy_id=strategy, account_id=account, instruments=[found[0]["id"]],
        bar_interval="1d",
    )  # fmt: skip
    return [
        ("tenant", "/v1/risk_limits"),
        ("client", f"/v1/clients/{client}/risk_limits"),
        ("account", f"/v1/accounts/{account}/risk_limits"),
        ("deployment", f"/v1/deployments/{deployment}/risk_limits"),
    ]


async def test_each_level_tightens_the_one_above_and_is_refused_what_is_looser(
    api: httpx.AsyncClient, tenant: TenantWithKey
) -> None:
    scopes = await _scopes(api, tenant)
    for number, (level, path) in enumerate(scopes):
        limit = {"limit": f"{100 - number}.00"}
        answer = await api.put(f"{path}/max_position", headers=tenant.headers, json={"parameters": limit})
        assert (answer.status_code, answer.json()["source"]) == (200, level), answer.text
        for below, (_, inner) in enumerate(scopes[number:]):
            shown = (await api.get(f"{inner}/max_position", headers=tenant.headers)).json()
            assert shown["parameters"] == limit
            assert shown["source"] == level
            assert shown["own"] == (None if below else limit)
    for number, (_, path) in enumerate(scopes[1:]):
        looser = {"parameters": {"limit": f"{100 - number}.01"}}
        refused = (await api.put(f"{path}/max_position", headers=tenant.headers, json=looser)).json()
        assert (refused["status"], refused["code"], refused["param"]) == (
            422, "limit_looser_than_parent", "parameters.limit",
        )  # fmt: skip
        assert f"{100 - number}.01" in refused["detail"] and f"{100 - number}.00" in refused["detail"]


async def test_a_parent_that_tightens_later_goes_before_and_leaves_the_childs_own_shown(
    api: httpx.AsyncClient, tenant: TenantWithKey
) -> None:
    (_, outer), *_, (_, inner) = await _scopes(api, tenant)
    for path, limit in ((inner, 5), (outer, 3)):
        body = {"parameters": {"limit": limit}}
        assert (await api.put(f"{path}/max_open_orders", headers=tenant.headers, json=body)).status_code == 200
    shown = (await api.get(f"{inner}/max_open_orders", headers=tenant.headers)).json()
    assert (shown["parameters"], shown["source"], shown["own"]) == ({"limit": 3}, "tenant", {"limit": 5})
    cleared = (await api.delete(f"{outer}/max_open_orders", headers=tenant.headers)).json()
    assert (cleared["source"], cleared["own"]) == ("default", None)
    shown = (await api.get(f"{inner}/max_open_orders", headers=tenant.headers)).json()
    assert (shown["parameters"], shown["source"]) == ({"limit": 5}, "deployment")


async def test_a_limit_of_a_strangers_client_or_deployment_is_not_there(
    api: httpx.AsyncClient, tenant: TenantWithKey, database: Database
) -> None:
    stranger = await make_tenant(database)
    for level, path in (await _scopes(api, tenant))[1:]:
        for answer in (
            await api.get(path, headers=stranger.headers),
            await api.put(f"{path}/max_position", headers=stranger.headers, json={"parameters": {"limit": "1"}}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (404, f"{level}_not_found")


async def test_a_test_key_sets_nothing_that_holds_for_live_accounts(
    api: httpx.AsyncClient, tenant: TenantWithKey, database: Database
) -> None:
    (_, whole), *_, (_, own), _ = await _scopes(api, tenant)
    async with database.tx(tenant.tenant_id) as tx:
        live = text(
            "insert into accounts (tenant_id, id, name, mode, currency, broker, feed, charge_schedule, slippage_bps, "
            "status, version) values (:tenant, uuidv7(), 'l', 'live', 'USD', 'kite', 'f', 'zero', 0, 'active', 0)"
        )
        await tx.execute(live, {"tenant": tenant.tenant_id})
    body = {"parameters": {"limit": "1.00"}}
    refused = await api.put(f"{whole}/max_position", headers=tenant.headers, json=body)
    assert (refused.status_code, refused.json()["code"]) == (403, "live_key_needed")
    assert (await api.delete(f"{whole}/max_position", headers=tenant.headers)).status_code == 403
    assert (await api.put(f"{own}/max_position", headers=tenant.headers, json=body)).status_code == 200
