"""`Idempotency-Key` and `dry_run` on the order path: one order a key, and a rehearsal that leaves no trace."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.bootstrap import App
from app.infra.database import Database
from tests.factories.tenants import TenantWithKey

pytestmark = pytest.mark.asyncio


async def _account(api: httpx.AsyncClient, tenant: TenantWithKey) -> str:
    body = {"name": "a", "currency": "USD", "opening_balance": "10000.00"}
    return str((await api.post("/v1/accounts", headers=tenant.headers, json=body)).json()["id"])


async def _body(api: httpx.AsyncClient, tenant: TenantWithKey, **changes: Any) -> dict[str, Any]:
    found = await api.get("/v1/instruments", headers=tenant.headers, params={"symbol": "AAPL"})
    body = {
        "account_id": changes.get("account_id") or await _account(api, tenant),
        "instrument_id": found.json()["data"][0]["id"],
        "side": "buy",
        "order_type": "limit",
        "quantity": "10",
        "limit_price": "19.50",
    }
    return {key: value for key, value in (body | changes).items() if value is not None}


def _keyed(tenant: TenantWithKey, key: str = "key-1") -> dict[str, str]:
    return tenant.headers | {"Idempotency-Key": key}


async def _orders(api: httpx.AsyncClient, tenant: TenantWithKey) -> list[dict[str, Any]]:
    return list((await api.get("/v1/orders", headers=tenant.headers)).json()["data"])


async def test_fifty_orders_of_one_key_at_once_are_one_order(api: httpx.AsyncClient, tenant: TenantWithKey) -> None:
    body = await _body(api, tenant)
    answers = await asyncio.gather(*(api.post("/v1/orders", headers=_keyed(tenant), json=body) for _ in range(50)))
    placed = [answer for answer in answers if answer.status_code in (200, 201)]
    assert len({answer.json()["id"] for answer in placed}) == 1
    assert {answer.status_code for answer in answers} <= {200, 201, 409, 503}
    assert [answer.status_code for answer in answers].count(201) == 1
    assert len(await _orders(api, tenant)) == 1


@pytest.mark.parametrize("own_id", [None, "my-order"])
async def test_a_key_answers_with_the_order_as_it_is_now(
    api: httpx.AsyncClient, tenant: TenantWithKey, own_id: str | None
) -> None:
    body = await _body(api, tenant, client_order_id=own_id)
    first, again = [await api.post("/v1/orders", headers=_keyed(tenant), json=body) for _ in range(2)]
    assert (first.status_code, again.status_code) == (201, 200), again.text
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()
    assert own_id in (None, first.json()["client_order_id"])


@pytest.mark.parametrize("changed", ["quantity", "client_order_id", "account_id"])
async def test_a_key_with_another_order_is_a_422(api: httpx.AsyncClient, tenant: TenantWithKey, changed: str) -> None:
    body = await _body(api, tenant, client_order_id="mine")
    other = {"quantity": "11", "client_order_id": "mine-2", "account_id": await _account(api, tenant)}[changed]
    await api.post("/v1/orders", headers=_keyed(tenant), json=body)
    answer = await api.post("/v1/orders", headers=_keyed(tenant), json=body | {changed: other})
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert len(await _orders(api, tenant)) == 1


async def test_one_key_on_two_accounts_at_once_is_one_order(api: httpx.AsyncClient, tenant: TenantWithKey) -> None:
    bodies = [await _body(api, tenant) for _ in range(2)]
    answers = await asyncio.gather(
        *(api.post("/v1/orders", headers=_keyed(tenant), json=bodies[n % 2]) for n in range(20))
    )
    assert {answer.status_code for answer in answers} <= {200, 201, 422, 503}
    assert len(await _orders(api, tenant)) == 1


async def test_after_a_day_the_key_still_never_trades_twice(
    api: httpx.AsyncClient, app: App, tenant: TenantWithKey
) -> None:
    body = await _body(api, tenant)
    first = await api.post("/v1/orders", headers=_keyed(tenant), json=body)
    async with app.database.tx(tenant.tenant_id) as tx:
        await tx.execute(text("update idempotency_keys set expires_at = clock_timestamp() - interval '1 s'"))
    again = await api.post("/v1/orders", headers=_keyed(tenant), json=body)
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])


async def test_a_cancel_is_asked_for_once(api: httpx.AsyncClient, app: App, tenant: TenantWithKey) -> None:
    order = (await api.post("/v1/orders", headers=tenant.headers, json=await _body(api, tenant))).json()
    for _ in range(2):
        answer = await api.post(f"/v1/orders/{order['id']}/cancel", headers=_keyed(tenant))
        assert answer.status_code == 202
    async with app.database.tx(tenant.tenant_id) as tx:
        asked = await tx.execute(text("select count(*) from work_items where kind = 'order.cancel'"))
        assert asked.scalar_one() == 1


async def _everything(database: Database, tenant: TenantWithKey) -> dict[str, str]:
    """A digest of the tenant's rows in every table."""
    async with database.tx(tenant.tenant_id) as tx:
        tables = await tx.scalars(
            text(
                "select c.relname from pg_class c where c.relnamespace = 'public'::regnamespace and relkind in "
                "('r', 'p') and not relispartition and has_table_privilege(c.oid, 'select') order by 1"
            )
        )
        found = {}
        for table in tables.all():
            counted = "where name <> 'api_calls'" if table == "usage_counters" else ""  # a dry run is a call, too
            rows = await tx.scalars(
                text(
                    f"select md5(coalesce(string_agg(t::text, '|' order by t::text), '')) from \"{table}\" t {counted}"
                )
            )
            found[str(table)] = str(rows.one())
        return found


async def test_a_dry_run_decides_and_prices_and_changes_no_row_of_any_table(
    api: httpx.AsyncClient, app: App, tenant: TenantWithKey
) -> None:
    body = await _body(api, tenant)
    before = await _everything(app.database, tenant)
    assert {"orders", "ledger_holds", "events", "work_items", "idempotency_keys", "accounts"} <= before.keys()
    answer = await api.post("/v1/orders?dry_run=true", headers=_keyed(tenant), json=body)
    assert answer.status_code == 200, answer.text
    assert await _everything(app.database, tenant) == before
    preview = answer.json()
    order = (await api.post("/v1/orders", headers=_keyed(tenant), json=body)).json()
    assert (preview["status"], preview["hold"], preview["risk"]) == (order["status"], order["held"], order["risk"])
    assert (preview["price"], preview["notional"], preview["available"]) == ("19.50", "195.00", "10000.00")
    assert sum(float(one) for one in preview["charge_heads"].values()) == pytest.approx(float(preview["charges"]))
    assert float(preview["hold"]) == pytest.approx(195.0 + float(preview["charges"]))
    assert await _everything(app.database, tenant) != before


async def test_a_dry_run_of_a_market_order_shows_what_it_would_hold(
    api: httpx.AsyncClient, tenant: TenantWithKey
) -> None:
    body = await _body(api, tenant, order_type="market", limit_price=None)
    preview = (await api.post("/v1/orders?dry_run=true", headers=tenant.headers, json=body)).json()
    order = (await api.post("/v1/orders", headers=tenant.headers, json=body)).json()
    assert preview["hold"] == order["held"]
    assert float(preview["price"]) > 20.0


async def test_a_dry_run_says_which_rule_would_deny(api: httpx.AsyncClient, tenant: TenantWithKey) -> None:
    body = await _body(api, tenant, quantity="100000")
    preview = (await api.post("/v1/orders?dry_run=true", headers=tenant.headers, json=body)).json()
    assert (preview["status"], preview["hold"]) == ("denied", "0.00")
    assert any(one["verdict"] == "deny" and one["rule"] == "max_order_value" for one in preview["risk"])


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"limit_price": "19.505"}, "off_tick"), ({"quantity": "1.5"}, "too_precise"), ({"colour": 1}, "invalid_request")],
)
async def test_a_dry_run_refuses_what_the_real_call_refuses(
    api: httpx.AsyncClient, tenant: TenantWithKey, changes: dict[str, Any], code: str
) -> None:
    body = await _body(api, tenant, **changes)
    answers = [
        await api.post(path, headers=tenant.headers, json=body) for path in ("/v1/orders?dry_run=true", "/v1/orders")
    ]
    assert [answer.json()["code"] for answer in answers] == [code, code]
    assert len({answer.status_code for answer in answers}) == 1


async def test_a_dry_run_of_an_order_that_exists_names_it(api: httpx.AsyncClient, tenant: TenantWithKey) -> None:
    body = await _body(api, tenant, client_order_id="mine")
    order = (await api.post("/v1/orders", headers=tenant.headers, json=body)).json()
    answer = await api.post("/v1/orders?dry_run=true", headers=tenant.headers, json=body)
    assert (answer.status_code, answer.json()["code"]) == (409, "order_exists")
    assert order["id"] in answer.json()["detail"]


async def test_a_dry_run_of_a_deployment_shows_it_and_writes_nothing(
    api: httpx.AsyncClient, app: App, tenant: TenantWithKey
) -> None:
    order = await _body(api, tenant)
    made = await api.post("/v1/strategies", headers=tenant.headers, json={"name": "s", "template": "momentum"})
    body = {
        "strategy_id": made.json()["id"],
        "account_id": order["account_id"],
        "instruments": [order["instrument_id"]],
    }
    before = await _everything(app.database, tenant)
    plan = await api.post("/v1/deployments?dry_run=true", headers=_keyed(tenant), json=body)
    assert plan.status_code == 200, plan.text
    assert await _everything(app.database, tenant) == before
    real = await api.post("/v1/deployments", headers=_keyed(tenant), json=body)
    assert real.status_code == 201
    assert {name: plan.json()[name] for name in ("digest", "feed", "instruments")} == {
        name: real.json()[name] for name in ("digest", "feed", "instruments")
    }
    refused = await api.post("/v1/deployments?dry_run=true", headers=tenant.headers, json=body)
    assert (refused.status_code, refused.json()["code"]) == (409, "account_in_use")
