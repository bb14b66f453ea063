"""Orders through the API: the journey, and every kind of bad input."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from app.bootstrap import App, open_brokers
from app.infra.work.runner import drain
from app.infra.work.tables import shard_of
from app.kernel.ids import encode_id, uuid7
from app.trading.orders.service import handlers, open_desk
from tests.factories.tenants import TenantWithKey, make_tenant


async def _body(api: httpx.AsyncClient, tenant: TenantWithKey, **changes: Any) -> dict[str, Any]:
    account = await api.post(
        "/v1/accounts", headers=tenant.headers, json={"name": "a", "currency": "USD", "opening_balance": "10000.00"}
    )
    found = await api.get("/v1/instruments", headers=tenant.headers, params={"symbol": "AAPL"})
    body = {
        "account_id": account.json()["id"],
        "instrument_id": found.json()["data"][0]["id"],
        "side": "buy",
        "order_type": "limit",
        "quantity": "10",
        "limit_price": "19.50",
    }
    return {key: value for key, value in (body | changes).items() if value is not None}


async def test_an_order_is_placed_found_listed_and_cancelled(
    api: httpx.AsyncClient, app: App, tenant: TenantWithKey
) -> None:
    placed = await api.post("/v1/orders", headers=tenant.headers, json=await _body(api, tenant))
    assert placed.status_code == 201, placed.text
    order = placed.json()
    assert (order["status"], order["quantity"], order["limit_price"], order["symbol"]) == (
        "accepted",
        "10",
        "19.50",
        "AAPL",
    )
    assert {finding["verdict"] for finding in order["risk"]} == {"pass"}
    again = (await api.get(f"/v1/orders/{order['id']}", headers=tenant.headers)).json()
    assert again == order
    listed = (await api.get("/v1/orders", headers=tenant.headers, params={"status": "accepted"})).json()
    assert [row["id"] for row in listed["data"]] == [order["id"]]
    held = await api.get("/v1/balances", headers=tenant.headers, params={"account_id": order["account_id"]})
    assert held.json()["data"][0]["held"] == order["held"]
    cancelled = await api.post(f"/v1/orders/{order['id']}/cancel", headers=tenant.headers)
    assert cancelled.status_code == 202
    await drain(
        app.database.dispatch,
        handlers(open_desk(app, open_brokers(app))),
        "execution",
        shard_of(tenant.tenant_id),
        holder="t",
    )
    assert (await api.get(f"/v1/orders/{order['id']}", headers=tenant.headers)).json()["status"] == "cancelled"
    assert (await api.post(f"/v1/orders/{order['id']}/cancel", headers=tenant.headers)).status_code == 409


async def test_an_account_is_funded_at_the_time_of_its_feed(
    api: httpx.AsyncClient, app: App, tenant: TenantWithKey
) -> None:
    await _body(api, tenant)
    clock = await app.database.pool.fetchval("select market_at from feed_state where feed = 'replay'")
    async with app.database.tx(tenant.tenant_id) as tx:
        dated = (await tx.scalars(text("select effective_at from ledger_transactions"))).all()
    assert dated == [clock]


async def test_the_same_idempotency_key_places_one_order(api: httpx.AsyncClient, tenant: TenantWithKey) -> None:
    body = await _body(api, tenant)
    headers = tenant.headers | {"Idempotency-Key": "once"}
    first, again = [await api.post("/v1/orders", headers=headers, json=body) for _ in range(2)]
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json()["id"] == first.json()["id"]
    other = await api.post("/v1/orders", headers=headers, json=body | {"quantity": "11"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_denied_order_is_201_with_its_figures(api: httpx.AsyncClient, tenant: TenantWithKey) -> None:
    body = await _body(api, tenant, quantity="100000")
    answer = (await api.post("/v1/orders", headers=tenant.headers, json=body)).json()
    assert (answer["status"], answer["held"]) == ("denied", "0.00")
    assert any(f["verdict"] == "deny" and f["rule"] == "max_order_value" for f in answer["risk"])


@pytest.mark.parametrize(
    ("changes", "status", "code", "param"),
    [
        ({"colour": "red"}, 422, "invalid_request", "colour"),
        ({"quantity": 10}, 422, "invalid_request", "quantity"),
        ({"quantity": "-10"}, 422, "invalid_request", "quantity"),
        ({"quantity": "0"}, 422, "invalid_request", "quantity"),
        ({"quantity": "1.5"}, 422, "too_precise", "quantity"),
        ({"limit_price": "19.505"}, 422, "off_tick", "limit_price"),
        ({"limit_price": None}, 422, "invalid_limit_price", "limit_price"),
        ({"order_type": "market"}, 422, "invalid_limit_price", "limit_price"),
        ({"side": "hold"}, 422, "invalid_request", "side"),
        ({"product": "intraday", "validity": "gtc"}, 422, "invalid_validity", "validity"),
        ({"instrument_id": encode_id("ins", uuid4())}, 422, "unknown_instrument", "instrument_id"),
        ({"instrument_id": "AAPL"}, 422, "invalid_id", "instrument_id"),
        ({"account_id": encode_id("acc", uuid7())}, 404, "account_not_found", "id"),
        ({"client_order_id": "no spaces"}, 422, "invalid_request", "client_order_id"),
    ],
)
async def test_bad_input_is_refused_with_the_field_and_nothing_is_written(
    api: httpx.AsyncClient, tenant: TenantWithKey, changes: dict[str, Any], status: int, code: str, param: str
) -> None:
    answer = await api.post("/v1/orders", headers=tenant.headers, json=await _body(api, tenant, **changes))
    assert (answer.status_code, answer.json()["code"], answer.json()["param"]) == (status, code, param), answer.text
    assert (await api.get("/v1/orders", headers=tenant.headers)).json()["data"] == []


async def test_another_tenants_account_and_order_do_not_exist(
    api: httpx.AsyncClient, app: App, tenant: TenantWithKey
) -> None:
    other = await make_tenant(app.database, now=datetime.now(UTC))
    body = await _body(api, tenant)
    mine = (await api.post("/v1/orders", headers=tenant.headers, json=body)).json()
    assert (await api.post("/v1/orders", headers=other.headers, json=body)).status_code == 404
    assert (await api.get(f"/v1/orders/{mine['id']}", headers=other.headers)).status_code == 404
    assert (await api.post(f"/v1/orders/{mine['id']}/cancel", headers=other.headers)).status_code == 404
