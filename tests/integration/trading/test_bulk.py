"""Several orders in one request: each has its own result, and none is ever placed twice."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx

from app.bootstrap import App
from app.kernel.ids import encode_id, uuid7
from tests.factories.tenants import TenantWithKey, make_tenant
from tests.integration.trading.test_orders_api import _body


async def bulk(
    api: httpx.AsyncClient, tenant: TenantWithKey, *orders: dict[str, Any], key: str | None = None
) -> httpx.Response:
    headers = tenant.headers | ({"Idempotency-Key": key} if key else {})
    return await api.post("/v1/orders/bulk", headers=headers, json={"orders": list(orders)})


async def listed(api: httpx.AsyncClient, tenant: TenantWithKey) -> list[str]:
    return [row["id"] for row in (await api.get("/v1/orders", headers=tenant.headers)).json()["data"]]


async def test_one_bad_order_stops_no_other(api: httpx.AsyncClient, tenant: TenantWithKey) -> None:
    good = await _body(api, tenant)
    wrong = [good | {"limit_price": "19.505"}, good | {"account_id": encode_id("acc", uuid7())}]
    answer = await bulk(api, tenant, good, *wrong, good | {"side": "sell"}, good | {"client_order_id": "last"})
    assert answer.status_code == 200, answer.text
    results = answer.json()["data"]
    assert [(one["index"], one["status"]) for one in results] == [(0, 201), (1, 422), (2, 404), (3, 201), (4, 201)]
    assert [one["result"] and one["result"]["status"] for one in results] == [
        "accepted",
        None,
        None,
        "denied",
        "accepted",
    ]
    assert [one["error"] and (one["error"]["code"], one["error"]["param"]) for one in results] == [
        None,
        ("off_tick", "limit_price"),
        ("account_not_found", "id"),
        None,
        None,
    ]
    assert results[4]["result"]["client_order_id"] == "last"
    assert len(await listed(api, tenant)) == 3


async def test_the_same_key_repeats_the_answer_and_places_nothing_again(
    api: httpx.AsyncClient, tenant: TenantWithKey
) -> None:
    good, key = await _body(api, tenant), uuid4().hex
    first = await bulk(api, tenant, good, good, key=key)
    again = await bulk(api, tenant, good, good, key=key)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
    assert again.json() == first.json()
    assert len(await listed(api, tenant)) == 2
    other = await bulk(api, tenant, good, key=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_what_was_placed_before_a_failure_in_the_middle_is_not_placed_again(
    api: httpx.AsyncClient, app: App, tenant: TenantWithKey
) -> None:
    """The answer is lost with the process, the orders are not: the key finds them by the ids it gave them."""
    good, key = await _body(api, tenant), uuid4().hex
    first = (await bulk(api, tenant, good, good, key=key)).json()["data"]
    await app.database.dispatch.fetchval("select idempotency_prune($1, 1000)", datetime(2100, 1, 1, tzinfo=UTC))
    again = (await bulk(api, tenant, good, good, good, key=key)).json()["data"]
    assert [one["status"] for one in again] == [200, 200, 201]
    assert [one["result"]["id"] for one in again[:2]] == [one["result"]["id"] for one in first]
    assert len(await listed(api, tenant)) == 3


async def test_each_order_is_charged_as_a_call(api: httpx.AsyncClient, tenant: TenantWithKey) -> None:
    good = await _body(api, tenant)

    def left(answer: httpx.Response) -> int:
        return int(answer.headers["RateLimit"].split("r=")[1].split(";")[0])

    one, many = await bulk(api, tenant, good), await bulk(api, tenant, *[good] * 15)
    assert left(one) - left(many) >= 10  # a few come back meanwhile


async def test_a_bulk_takes_1_to_20_orders(api: httpx.AsyncClient, tenant: TenantWithKey) -> None:
    good = await _body(api, tenant)
    for orders in ([], [good] * 21):
        answer = await bulk(api, tenant, *orders)
        assert (answer.status_code, answer.json()["param"]) == (422, "orders")
    assert await listed(api, tenant) == []


async def test_several_orders_are_cancelled_and_each_says_how_it_went(
    api: httpx.AsyncClient, app: App, tenant: TenantWithKey
) -> None:
    good = await _body(api, tenant)
    placed = [one["result"]["id"] for one in (await bulk(api, tenant, good, good | {"side": "sell"})).json()["data"]]
    stranger = await make_tenant(app.database, now=datetime.now(UTC))
    asked = {"order_ids": [*placed, encode_id("ord", uuid7()), "nonsense"]}
    answer = await api.post("/v1/orders/bulk_cancel", headers=tenant.headers, json=asked)
    results = answer.json()["data"]
    assert [one["status"] for one in results] == [202, 409, 404, 422]
    assert [one["error"] and one["error"]["code"] for one in results] == [
        None,
        "order_not_cancellable",
        "order_not_found",
        "invalid_id",
    ]
    foreign = await api.post("/v1/orders/bulk_cancel", headers=stranger.headers, json={"order_ids": placed})
    assert [one["status"] for one in foreign.json()["data"]] == [404, 404]
