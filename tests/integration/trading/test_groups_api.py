"""Grouped orders through the API: how they are asked for, shown, listed and told."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from app.bootstrap import App
from tests.factories.tenants import TenantWithKey, make_tenant
from tests.integration.trading.test_orders_api import _body

EXITS: dict[str, Any] = {
    "take_profit": {"limit_price": "20.50"},
    "stop_loss": {"trigger_price": "19.00", "limit_price": "18.90"},
}


async def test_a_bracket_is_placed_shown_with_its_exits_and_listed_by_its_parent(
    api: httpx.AsyncClient, app: App, tenant: TenantWithKey
) -> None:
    placed = await api.post(
        "/v1/orders", headers=tenant.headers, json=await _body(api, tenant, order_class="bracket", **EXITS)
    )
    assert placed.status_code == 201, placed.text
    order = placed.json()
    assert (order["order_class"], order["leg"], order["parent_id"]) == ("bracket", "entry", None)
    target, stop = order["children"]
    assert [(one["leg"], one["status"], one["side"], one["parent_id"]) for one in (target, stop)] == [
        ("target", "waiting", "sell", order["id"]),
        ("stop", "waiting", "sell", order["id"]),
    ]
    assert (target["order_type"], target["limit_price"]) == ("limit", "20.50")
    assert (stop["order_type"], stop["trigger_price"], stop["limit_price"]) == ("sl", "19.00", "18.90")
    assert (await api.get(f"/v1/orders/{order['id']}", headers=tenant.headers)).json() == order
    shown = (await api.get(f"/v1/orders/{stop['id']}", headers=tenant.headers)).json()
    assert (shown["parent_id"], [one["rule"] for one in shown["risk"]]) == (order["id"], ["group"])
    listed = await api.get("/v1/orders", headers=tenant.headers, params={"parent_id": order["id"]})
    assert [one["id"] for one in listed.json()["data"]] == [stop["id"], target["id"]]
    stranger = await make_tenant(app.database, now=datetime.now(UTC))
    listed = await api.get("/v1/orders", headers=stranger.headers, params={"parent_id": order["id"]})
    assert listed.json()["data"] == []


async def test_the_same_client_order_id_asks_for_the_same_group(api: httpx.AsyncClient, tenant: TenantWithKey) -> None:
    body = await _body(api, tenant, order_class="bracket", client_order_id="one", **EXITS)
    first = await api.post("/v1/orders", headers=tenant.headers, json=body)
    again = await api.post("/v1/orders", headers=tenant.headers, json=body)
    assert (first.status_code, again.status_code, again.json()) == (201, 200, first.json())
    other = body | {"take_profit": {"limit_price": "21.00"}}
    answer = await api.post("/v1/orders", headers=tenant.headers, json=other)
    assert (answer.status_code, answer.json()["code"]) == (409, "client_order_id_reused")


async def test_a_dry_run_of_a_group_decides_and_writes_nothing(api: httpx.AsyncClient, tenant: TenantWithKey) -> None:
    body = await _body(api, tenant, order_class="bracket", **EXITS)
    answer = await api.post("/v1/orders?dry_run=true", headers=tenant.headers, json=body)
    assert (answer.status_code, answer.json()["status"]) == (200, "accepted")
    assert (await api.get("/v1/orders", headers=tenant.headers)).json()["data"] == []


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"order_class": "sliced"}, "order_class"),
        ({"order_class": "bracket"}, "stop_loss"),
        ({"take_profit": {"limit_price": "20.50"}}, "take_profit"),
        ({"order_class": "oto", "take_profit": {"limit_price": "20.505"}}, "take_profit.limit_price"),
        ({"order_class": "oto", "take_profit": {"limit_price": "-1"}}, "take_profit.limit_price"),
        ({"order_class": "cover", "stop_loss": {"trigger_price": "19.60"}}, "stop_loss.trigger_price"),
        ({"order_class": "cover", "stop_loss": {"limit_price": "19.00"}}, "stop_loss.trigger_price"),
        ({"order_class": "iceberg", "slices": 1}, "slices"),
        ({"order_class": "iceberg", "slices": 11}, "slices"),
    ],
)
async def test_what_is_wrong_with_a_group_names_its_field(
    api: httpx.AsyncClient, tenant: TenantWithKey, changes: dict[str, Any], param: str
) -> None:
    answer = await api.post("/v1/orders", headers=tenant.headers, json=await _body(api, tenant, **changes))
    assert (answer.status_code, answer.json()["param"]) == (422, param), answer.text
    assert (await api.get("/v1/orders", headers=tenant.headers)).json()["data"] == []
