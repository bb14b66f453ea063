"""What no request may ask for: more slices than there can be, prices beyond 64 bits, and ids that we make ourselves."""

from typing import Any

import httpx
import pytest
from httpx import Response

from app.kernel.ids import encode_id
from app.kernel.orders import OrderClass, OrderType
from tests.factories.tenants import TenantWithKey, make_key
from tests.integration.trading.conftest import PRICE, Venue
from tests.integration.trading.scripted import change_refused
from tests.integration.trading.test_orders_api import _body
from tests.integration.trading.test_slices import frozen as frozen
from tests.integration.trading.test_slices import whole

LARGEST = "922337203685477.58"
"""At four decimal places, the last tick that fits into 64 bits."""

HUGE = 10**15
DISTANCE = {"order_type": "trailing_stop", "limit_price": None, "parameters": {"trail_by": LARGEST}}
STOP = {"order_type": "sl_m", "limit_price": None, "trigger_price": LARGEST}


def _said(answer: Response) -> tuple[int, str, str | None]:
    problem = answer.json()
    return answer.status_code, problem["code"], problem["param"]


async def _nothing(api: httpx.AsyncClient, tenant: TenantWithKey) -> bool:
    return bool((await api.get("/v1/orders", headers=tenant.headers)).json()["data"] == [])


@pytest.mark.parametrize("dry", [False, True])
@pytest.mark.parametrize(
    ("changes", "param"),
    [
        (DISTANCE, "parameters.trail_by"),
        (STOP | {"market_protection": "100"}, "trigger_price"),
        (STOP | {"market_protection": "0.01", "validity": "gtt"}, "trigger_price"),
    ],
)
async def test_a_price_that_comes_to_more_than_64_bits_is_refused_by_its_field(
    api: httpx.AsyncClient, tenant: TenantWithKey, changes: dict[str, Any], param: str, dry: bool
) -> None:
    body = await _body(api, tenant, **changes)
    answer = await api.post(f"/v1/orders{'?dry_run=true' * dry}", headers=tenant.headers, json=body)
    assert _said(answer) == (422, "out_of_range", param), answer.text
    assert await _nothing(api, tenant)


@pytest.mark.parametrize(
    "changes",
    [
        STOP,
        STOP | {"validity": "gtt"},
        {"limit_price": LARGEST},
        {"limit_price": LARGEST, "quantity": "9223372036854775807"},
        {"limit_price": LARGEST, "side": "sell"},
        {"limit_price": LARGEST, "side": "sell", "product": "intraday"},
        {"order_type": "sl", "limit_price": LARGEST, "trigger_price": LARGEST},
        DISTANCE | {"side": "sell"},
    ],
)
async def test_the_largest_numbers_are_denied_with_their_figures(
    api: httpx.AsyncClient, tenant: TenantWithKey, changes: dict[str, Any]
) -> None:
    answer = await api.post("/v1/orders", headers=tenant.headers, json=await _body(api, tenant, **changes))
    assert (answer.status_code, answer.json()["status"]) == (201, "denied"), answer.text


async def test_a_stop_is_not_moved_beyond_64_bits(venue: Venue) -> None:
    largest = int(LARGEST.replace(".", "")) * 100
    stop = await venue.order(order_type="sl_m", trigger_price=PRICE + 10_000, market_protection_bps=100)
    assert await change_refused(venue, stop.id, trigger_price=largest) == ("out_of_range", "trigger_price")
    trail = await venue.order(order_type="trailing_stop", parameters={"trail_by": "1.00"})
    refusal = await change_refused(venue, trail.id, parameters={"trail_by": LARGEST})
    assert refusal == ("out_of_range", "parameters.trail_by")


async def test_a_quantity_of_more_slices_than_there_can_be_is_refused_when_placed_and_when_changed(
    api: httpx.AsyncClient, frozen: Venue
) -> None:
    key = await make_key(frozen.app.database, frozen.tenant_id)
    body = {
        "account_id": encode_id("acc", frozen.account_id),
        "instrument_id": encode_id("ins", frozen.instrument_id),
        "side": "buy",
        "order_type": "limit",
        "limit_price": "19.00",
        "quantity": str(HUGE),
    }
    for changes in ({}, {"disclosed_quantity": "5"}):
        answer = await api.post("/v1/orders", headers=key.headers, json=body | changes)
        assert _said(answer) == (422, "above_freeze", "quantity"), answer.text
    assert await _nothing(api, key)
    at_limit: dict[str, Any] = {"order_type": OrderType.LIMIT, "limit_price": PRICE}
    plain = await frozen.order(**at_limit, quantity=10)
    sliced = await frozen.order(**at_limit, quantity=40)
    iceberg = await frozen.order(**at_limit, quantity=20, order_class=OrderClass.ICEBERG, slices=2)
    for one in (plain, sliced, iceberg):
        before = await whole(frozen, one.id)
        path = f"/v1/orders/{encode_id('ord', one.id)}"
        answer = await api.patch(path, headers=key.headers, json={"quantity": str(HUGE)})
        assert _said(answer) == (422, "above_freeze", "quantity"), answer.text
        assert await whole(frozen, one.id) == before


@pytest.mark.parametrize("name", ["exit_", "exit_intraday_00ff_0011_1", "ord_", "ord_01kpx4.slice.2"])
async def test_ids_that_we_make_ourselves_are_nobody_elses(
    api: httpx.AsyncClient, tenant: TenantWithKey, name: str
) -> None:
    body = await _body(api, tenant)
    taken = body | {"client_order_id": name}
    for path, asked, param in (
        ("/v1/orders", taken, "client_order_id"),
        ("/v1/orders?dry_run=true", taken, "client_order_id"),
        ("/v1/orders/bulk", {"orders": [body, taken]}, "orders.1.client_order_id"),
        ("/v1/risk/what_if", {"orders": [taken]}, "orders.0.client_order_id"),
    ):
        answer = await api.post(path, headers=tenant.headers, json=asked)
        assert _said(answer) == (422, "invalid_request", param), answer.text
        assert "must not begin with exit_ or ord_" in answer.json()["errors"][0]["message"]
    assert await _nothing(api, tenant)


@pytest.mark.parametrize("name", ["exit", "ord-1", "my_exit_1", "EXIT_1", "x.ord_1"])
async def test_ids_that_only_look_like_ours_are_taken(api: httpx.AsyncClient, tenant: TenantWithKey, name: str) -> None:
    body = await _body(api, tenant, client_order_id=name)
    answer = await api.post("/v1/orders", headers=tenant.headers, json=body)
    assert (answer.status_code, answer.json()["client_order_id"]) == (201, name)
