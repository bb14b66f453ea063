"""Stops, protection, validities and waiting orders on the paper venue: to the fill, and over restarts."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from app.bootstrap import App
from app.kernel.orders import Side, Validity
from app.trading.orders.service.executing import cancel
from app.trading.orders.service.matching import match_entries
from tests.factories.tenants import TenantWithKey
from tests.integration.trading.conftest import AT, PRICE, Venue
from tests.integration.trading.scripted import Scripted, held, item
from tests.integration.trading.test_orders_api import _body

UP, DOWN = PRICE + 10_000, PRICE - 10_000


async def _bought(venue: Venue) -> None:
    """Hold 10."""
    await venue.order()
    await venue.work()
    await venue.show(PRICE)


async def _fills(venue: Venue, order_id: UUID) -> list[int]:
    return [row["price"] for row in await venue.rows("select price from fills where order_id = :id", id=order_id)]


async def _again(venue: Venue) -> None:
    """The matcher was killed after its last batch, and before its checkpoint: it reads everything once more."""
    await match_entries(venue.app, venue.feed, venue.sent, after="0-0")


async def test_a_stop_rests_through_a_restart_and_fills_at_its_trigger(venue: Venue) -> None:
    await _bought(venue)
    stop = await venue.order(side=Side.SELL, order_type="sl_m", trigger_price=DOWN)
    await venue.work()
    await venue.show(PRICE, DOWN + 100)
    assert await venue.status(stop.id) == "open"
    await venue.show(DOWN - 5_000)
    await _again(venue)
    assert (await venue.status(stop.id), await _fills(venue, stop.id)) == ("filled", [DOWN])
    await venue.is_sound()


async def test_a_stop_that_is_beyond_its_limit_rests_on_and_its_trigger_survives_a_restart(venue: Venue) -> None:
    stop = await venue.order(order_type="sl", trigger_price=UP, limit_price=UP + 5_000)
    await venue.work()
    await venue.show(UP + 10_000, first=True)
    assert (await venue.status(stop.id), await _fills(venue, stop.id)) == ("open", [])
    await _again(venue)
    await venue.show(UP)
    await _again(venue)
    assert (await venue.status(stop.id), await _fills(venue, stop.id)) == ("filled", [UP + 5_000])
    await venue.is_sound()


async def test_a_protected_order_is_cancelled_beyond_its_protection_and_gives_its_hold_back(venue: Venue) -> None:
    asked = await venue.order(market_protection_bps=100)
    assert await held(venue) == 10 * 2_020 + 100  # with its charges
    await venue.work()
    await venue.show(PRICE + 2_100)
    rows = await venue.rows("select status, status_reason from orders where id = :id", id=asked.id)
    assert rows == [{"status": "cancelled", "status_reason": "the market was beyond its protection"}]
    assert await held(venue) == 0
    await venue.is_sound()


async def test_an_immediate_order_fills_at_the_first_price_or_is_cancelled(venue: Venue) -> None:
    limit = {"order_type": "limit", "validity": Validity.IOC}
    missed = await venue.order(limit_price=DOWN, **limit)
    met = await venue.order(limit_price=UP, **limit)
    await venue.work()
    await venue.show(PRICE, DOWN - 100)
    assert [await venue.status(one.id) for one in (missed, met)] == ["cancelled", "filled"]
    assert await _fills(venue, met.id) == [PRICE]
    await venue.is_sound()


async def test_an_order_for_some_minutes_expires_by_the_markets_clock(venue: Venue) -> None:
    brief = await venue.order(order_type="limit", limit_price=DOWN, validity=Validity.TTL, validity_minutes=24 * 60)
    rows = await venue.rows("select expires_at from orders where id = :id", id=brief.id)
    assert rows == [{"expires_at": AT + timedelta(days=1)}]
    await venue.work()
    await venue.show(DOWN - 100, days=1)
    assert (await venue.status(brief.id), await held(venue)) == ("expired", 0)


async def test_a_good_till_triggered_order_waits_over_sessions_and_is_sent_when_it_is_touched(venue: Venue) -> None:
    order = await venue.order(order_type="sl", trigger_price=UP, limit_price=UP + 1_000, validity=Validity.GTT)
    assert await venue.work() == 0
    await venue.show(PRICE, close=True)
    await venue.show(UP - 100, days=2)
    assert (await venue.status(order.id), await venue.work()) == ("accepted", 0)
    await venue.show(UP, days=2)
    await _again(venue)
    assert await venue.work() == 1
    assert await venue.rows("select order_type, validity, limit_price from paper_orders") == [
        {"order_type": "limit", "validity": "day", "limit_price": UP + 1_000}
    ]
    await venue.show(UP, days=2)
    assert (await venue.status(order.id), await _fills(venue, order.id)) == ("filled", [UP])
    await venue.is_sound()


async def test_a_waiting_order_that_is_cancelled_is_never_sent(venue: Venue) -> None:
    order = await venue.order(order_type="sl_m", trigger_price=UP, validity=Validity.GTT)
    assert await held(venue) > 0
    await cancel(venue.desk(Scripted([])), item(venue, order.id, "order.cancel"))
    assert (await venue.status(order.id), await held(venue)) == ("cancelled", 0)
    await venue.show(UP)
    assert (await venue.work(), await venue.rows("select 1 from waiting_orders")) == (0, [])


async def test_a_trailing_stop_follows_the_market_through_restarts_and_sells_when_it_turns(venue: Venue) -> None:
    await _bought(venue)
    stop = await venue.order(side=Side.SELL, order_type="trailing_stop", parameters={"trail_by": "1.00"})
    trigger = "select trigger_price from orders where id = :id"
    assert await venue.rows(trigger, id=stop.id) == [{"trigger_price": PRICE - 10_000}]
    await venue.show(PRICE + 20_000, PRICE + 15_000)
    await _again(venue)
    assert await venue.rows(trigger, id=stop.id) == [{"trigger_price": PRICE + 10_000}]
    assert await venue.work() == 0
    await venue.show(PRICE + 10_000)
    await _again(venue)
    assert await venue.work() == 1
    await venue.show(PRICE + 9_000)
    assert (await venue.status(stop.id), await _fills(venue, stop.id)) == ("filled", [PRICE + 9_000])
    await venue.is_sound()


async def test_a_trailing_stop_of_a_day_ends_with_its_session(venue: Venue) -> None:
    order = await venue.order(order_type="trailing_stop", parameters={"trail_percent": "5"})
    await venue.show(PRICE, close=True)
    assert (await venue.status(order.id), await held(venue)) == ("expired", 0)
    assert await venue.rows("select 1 from waiting_orders") == []


async def test_an_order_for_the_next_session_is_sent_once_when_it_is_released(venue: Venue) -> None:
    order = await venue.order(after_market=True)
    assert (order.status, await venue.work()) == ("accepted", 0)
    release = "select orders_release($1, $2)"
    pool = venue.app.database.pool
    assert [await pool.fetchval(release, venue.tenant_id, order.id) for _ in range(2)] == [True, False]
    assert await venue.work() == 1
    await venue.show(PRICE)
    assert await venue.status(order.id) == "filled"


async def test_a_waiting_order_counts_in_risk_like_a_working_one(venue: Venue) -> None:
    await _bought(venue)
    await venue.order(side=Side.SELL, order_type="sl_m", trigger_price=DOWN, validity=Validity.GTT)
    second = await venue.order(side=Side.SELL)
    assert (second.status, [reason.rule for reason in second.reasons]) == ("denied", ["short_sale"])


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"order_type": "bogus"}, "unknown_order_type", "order_type"),
        ({"trigger_price": "21.00"}, "invalid_trigger_price", "trigger_price"),
        ({"order_type": "sl", "trigger_price": "21.005", "limit_price": "22"}, "off_tick", "trigger_price"),
        ({"order_type": "sl", "trigger_price": "0.01", "limit_price": "22"}, "stop_on_the_wrong_side", "trigger_price"),
        ({"order_type": "sl", "trigger_price": "99999", "limit_price": "22"}, "invalid_limit_price", "limit_price"),
        ({"order_type": "sl_m", "limit_price": None}, "invalid_trigger_price", "trigger_price"),
        ({"market_protection": "1"}, "invalid_market_protection", "market_protection"),
        (
            {"order_type": "market", "limit_price": None, "market_protection": "100.01"},
            "invalid_market_protection",
            "market_protection",
        ),
        ({"market_protection": "0.001"}, "too_precise", "market_protection"),
        ({"market_protection": "0"}, "invalid_request", "market_protection"),
        ({"validity": "ttl"}, "invalid_validity_minutes", "validity_minutes"),
        ({"validity": "ttl", "validity_minutes": 0}, "invalid_request", "validity_minutes"),
        ({"validity": "ttl", "validity_minutes": 1441}, "invalid_request", "validity_minutes"),
        ({"validity": "gtt"}, "invalid_validity", "validity"),
        ({"validity": "ioc", "after_market": True}, "invalid_after_market", "after_market"),
        ({"after_market": "yes"}, "invalid_request", "after_market"),
        ({"order_type": "trailing_stop", "limit_price": None}, "invalid_parameters", "parameters"),
        ({"order_type": "trailing_stop", "limit_price": None, "parameters": {}}, "invalid_parameters", "parameters"),
        (
            {"order_type": "trailing_stop", "limit_price": None, "parameters": {"trail_by": 5}},
            "invalid_parameters",
            "parameters.trail_by",
        ),
        *(
            (
                {"order_type": "trailing_stop", "limit_price": None, "parameters": {"trail_percent": text}},
                "invalid_parameters",
                "parameters.trail_percent",
            )
            for text in ("0", "0.00", "-1", "1e2", "100", "1.")
        ),
        ({"parameters": {"trail_by": "1"}}, "invalid_parameters", "parameters"),
        ({"disclosed_quantity": "10"}, "invalid_disclosed_quantity", "disclosed_quantity"),
        ({"disclosed_quantity": "1.5"}, "too_precise", "disclosed_quantity"),
        ({"quantity": "100", "disclosed_quantity": "9"}, "invalid_disclosed_quantity", "disclosed_quantity"),
        (
            {"order_type": "market", "limit_price": None, "disclosed_quantity": "5"},
            "invalid_disclosed_quantity",
            "disclosed_quantity",
        ),
    ],
)
async def test_bad_terms_are_refused_with_the_field_and_nothing_is_written(
    api: httpx.AsyncClient, tenant: TenantWithKey, changes: dict[str, Any], code: str, param: str
) -> None:
    answer = await api.post("/v1/orders", headers=tenant.headers, json=await _body(api, tenant, **changes))
    assert (answer.status_code, answer.json()["code"], answer.json()["param"]) == (422, code, param), answer.text
    assert (await api.get("/v1/orders", headers=tenant.headers)).json()["data"] == []


async def test_an_orders_terms_are_shown_as_they_were_given(
    api: httpx.AsyncClient, app: App, tenant: TenantWithKey
) -> None:
    body = await _body(api, tenant, order_type="sl_m", limit_price=None, trigger_price="99999", market_protection="0.5")
    placed = (await api.post("/v1/orders", headers=tenant.headers, json=body)).json()
    shown = ("order_type", "trigger_price", "market_protection", "protected_price", "limit_price")
    assert [placed[name] for name in shown] == ["sl_m", "99999.00", "0.5", "100498.99", None]
    again = (await api.get(f"/v1/orders/{placed['id']}", headers=tenant.headers)).json()
    assert again == placed
    trail = await _body(
        api, tenant, order_type="trailing_stop", limit_price=None, parameters={"trail_percent": "1.5"}, side="buy"
    )
    placed = (await api.post("/v1/orders", headers=tenant.headers, json=trail)).json()
    assert (placed["status"], placed["parameters"]) == ("accepted", {"trail_percent": "1.5"})


async def test_the_document_says_what_each_type_takes(api: httpx.AsyncClient) -> None:
    schemas = (await api.get("/openapi.json")).json()["components"]["schemas"]
    fields = schemas["CreateOrder"]["properties"]
    assert fields["order_type"]["enum"] == ["limit", "market", "sl", "sl_m", "trailing_stop"]
    assert "TrailingStopParameters" in str(fields["parameters"])
