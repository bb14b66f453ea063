"""Orders that are changed before any broker knows of them: at once, in one transaction, with what they wait for."""

import asyncio
from typing import Any
from uuid import UUID

import httpx

from app.kernel.errors import DomainError
from app.kernel.orders import Side, Validity
from app.trading.orders.service.executing import submit
from app.trading.orders.service.matching import match_entries
from tests.factories.tenants import TenantWithKey
from tests.integration.trading.conftest import AT, PRICE, Venue
from tests.integration.trading.groups import bracket, family, fill
from tests.integration.trading.scripted import begun, change, change_refused, held, item, told
from tests.integration.trading.test_orders_api import _body

UP, DOWN = PRICE + 10_000, PRICE - 10_000
GTT: dict[str, Any] = {"order_type": "sl", "trigger_price": UP, "limit_price": UP + 1_000, "validity": Validity.GTT}


async def _row(venue: Venue, order_id: UUID) -> dict[str, Any]:
    return (await venue.rows("select * from orders where id = :id", id=order_id))[0]


async def _waits(venue: Venue, order_id: UUID) -> dict[str, Any]:
    sql = "select trigger_price, trail_by, trail_bps, validity from waiting_orders where id = :id"
    return (await venue.rows(sql, id=order_id))[0]


async def _bought(venue: Venue) -> None:
    await venue.order()
    await venue.work()
    await venue.show(PRICE)


async def test_an_order_that_waits_for_its_turn_is_changed_at_once_and_holds_what_it_then_costs(venue: Venue) -> None:
    placed = await venue.order(order_type="limit", limit_price=PRICE)
    before = await held(venue)
    await change(venue, placed.id, quantity=20, validity=Validity.GTC)
    row = await _row(venue, placed.id)
    assert (row["status"], row["quantity"], row["validity"], row["pending_change"]) == ("accepted", 20, "gtc", None)
    assert await held(venue) == row["hold_minor"] > 1.9 * before
    await change(venue, placed.id, quantity=5)
    assert await held(venue) == (await _row(venue, placed.id))["hold_minor"] < before
    assert await told(venue, placed.id) == ["accepted", "modified", "modified"]
    assert await venue.work() == 1
    assert await venue.rows("select remaining, validity from paper_orders") == [{"remaining": 5, "validity": "gtc"}]
    await venue.show(PRICE - 100)
    assert (await _row(venue, placed.id))["filled_quantity"] == 5
    await venue.is_sound()


async def test_a_market_order_is_changed_until_it_is_sent(venue: Venue) -> None:
    placed = await venue.order()
    await change(venue, placed.id, quantity=4)
    await venue.work()
    assert await change_refused(venue, placed.id, quantity=5) == ("order_not_changeable", None)
    await venue.show(PRICE)
    assert (await _row(venue, placed.id))["filled_quantity"] == 4
    await venue.is_sound()


async def test_an_order_that_is_on_its_way_is_not_changed(venue: Venue) -> None:
    placed = await venue.order(order_type="limit", limit_price=PRICE)
    await begun(venue, placed.id)
    assert await change_refused(venue, placed.id, quantity=5) == ("order_not_changeable", None)


async def test_more_is_decided_by_the_rules_and_less_is_not(venue: Venue) -> None:
    placed = await venue.order(order_type="limit", limit_price=PRICE)
    before = await _row(venue, placed.id)
    assert await change_refused(venue, placed.id, quantity=527) == ("change_denied", None)
    await venue.rows("update accounts set status = 'reduce_only' where id = :id returning id", id=venue.account_id)
    assert await change_refused(venue, placed.id, quantity=11) == ("change_denied", None)
    assert await _row(venue, placed.id) == before
    await change(venue, placed.id, quantity=9)
    await venue.is_sound()


async def test_a_good_till_triggered_order_waits_for_its_new_trigger_and_is_sent_as_changed(venue: Venue) -> None:
    placed = await venue.order(**GTT)
    await change(venue, placed.id, trigger_price=UP + 5_000, limit_price=UP + 6_000, quantity=7)
    assert (await _waits(venue, placed.id))["trigger_price"] == UP + 5_000
    await venue.show(UP)
    assert await venue.work() == 0
    await venue.show(UP + 5_000)
    assert await change_refused(venue, placed.id, trigger_price=UP + 6_000) == ("order_not_changeable", None)
    assert await venue.work() == 1
    sql = "select order_type, limit_price, remaining from paper_orders"
    assert await venue.rows(sql) == [{"order_type": "limit", "limit_price": UP + 6_000, "remaining": 7}]
    await venue.is_sound()


async def test_a_stop_that_was_sent_once_it_was_touched_has_its_limit_and_quantity_changed(venue: Venue) -> None:
    placed = await venue.order(**GTT)
    await venue.show(UP)
    await venue.work()
    assert await change_refused(venue, placed.id, trigger_price=UP + 500) == ("order_not_changeable", "trigger_price")
    await change(venue, placed.id, limit_price=UP + 2_000, quantity=8)
    await venue.work()
    sql = "select limit_price, remaining from paper_orders"
    assert await venue.rows(sql) == [{"limit_price": UP + 2_000, "remaining": 8}]
    await venue.show(UP)
    assert (await _row(venue, placed.id))["status"] == "filled"
    await venue.is_sound()


async def test_a_price_that_was_shown_before_the_change_does_not_set_off_what_was_changed(venue: Venue) -> None:
    """It lay on the tape already; the matcher, with the book as it was, comes to it only now."""
    placed = await venue.order(**GTT)
    entry = {
        "type": "price", "instrument_id": str(venue.instrument_id), "price": str(UP + 600), "volume": "1",
        "at": AT.isoformat(), "first": "0",
    }  # fmt: skip
    stale = [(str(await venue.app.stream.xadd(f"feed:{venue.feed}", entry)), entry)]  # type: ignore[arg-type]
    await asyncio.sleep(0.01)
    await change(venue, placed.id, trigger_price=UP + 500, quantity=9)
    await match_entries(venue.app, venue.feed, stale, after="0-0")
    assert (await venue.work(), await told(venue, placed.id)) == (0, ["accepted", "modified"])


async def test_a_matcher_that_read_the_order_before_its_change_leaves_it_alone(venue: Venue) -> None:
    placed = await venue.order(**GTT)
    sql = "select seen_to, trigger_price from waiting_orders where id = :id"
    (read,) = await venue.rows(sql, id=placed.id)
    await change(venue, placed.id, trigger_price=UP + 500)
    pool, judged = venue.app.database.pool, (venue.tenant_id, placed.id, read["seen_to"], read["trigger_price"])
    assert not await pool.fetchval("select orders_set_off($1, $2, $3, $4, $5, 'now')", *judged, UP)
    await pool.execute("select orders_trail($1, $2, $3, $4, $5, '9-9')", *judged, DOWN)
    await pool.execute("select orders_wait_over($1, $2, $3, $4, 'the session ended', '{}')", *judged)
    assert (await _row(venue, placed.id))["status"] == "accepted"
    assert await venue.rows(sql, id=placed.id) != [read]


async def test_a_session_that_ended_before_the_validity_was_changed_ends_nothing(venue: Venue) -> None:
    waits = await venue.order(order_type="trailing_stop", parameters={"trail_by": "1.00"})
    rests = await venue.order(order_type="limit", limit_price=DOWN)
    await venue.work()
    (read,) = await venue.rows("select seen_to, trigger_price from waiting_orders where id = :id", id=waits.id)
    pool, ended = venue.app.database.pool, str(await venue.app.stream.xadd(f"feed:{venue.feed}", {"type": "none"}))
    await asyncio.sleep(0.01)
    for order in (waits, rests):
        await change(venue, order.id, validity=Validity.GTC)
    await venue.work()
    judged = (venue.tenant_id, waits.id, read["seen_to"], read["trigger_price"])
    await pool.execute("select orders_wait_over($1, $2, $3, $4, 'the session ended', '{}')", *judged)
    sql = "select orders_let_go($1, $2, $3, 'expired', 'the session ended', '{}', NULL, NULL)"
    await pool.execute(sql, venue.tenant_id, rests.id, ended)
    assert [await venue.status(order.id) for order in (waits, rests)] == ["accepted", "open"]


async def test_a_trailing_stop_takes_another_distance_from_the_best_price_that_it_followed(venue: Venue) -> None:
    await _bought(venue)
    stop = await venue.order(side=Side.SELL, order_type="trailing_stop", parameters={"trail_by": "1.00"})
    await venue.show(PRICE + 20_000, PRICE + 12_000)
    await venue.app.database.reference.execute(
        "update last_prices set price = $1 where feed = $2", PRICE + 12_000, venue.feed
    )
    await change(venue, stop.id, parameters={"trail_by": "1.50"}, validity=Validity.GTC)
    assert await _waits(venue, stop.id) == {
        "trigger_price": PRICE + 5_000, "trail_by": 15_000, "trail_bps": None, "validity": "gtc"
    }  # fmt: skip
    row = await _row(venue, stop.id)
    assert (row["trigger_price"], row["parameters"], row["validity"]) == (PRICE + 5_000, {"trail_by": "1.50"}, "gtc")
    assert await change_refused(venue, stop.id, parameters={"trail_by": "0.80"}) == (
        "stop_on_the_wrong_side",
        "parameters",
    )
    assert await change_refused(venue, stop.id, parameters={"trail_by": "0"}) == (
        "invalid_parameters",
        "parameters.trail_by",
    )
    await venue.show(PRICE + 12_000, close=True)
    assert (await _row(venue, stop.id))["status"] == "accepted"  # it outlives its session now
    await venue.show(PRICE + 5_000)
    assert await venue.work() == 1
    await venue.is_sound()


async def test_an_order_for_the_next_session_is_changed_while_it_waits(venue: Venue) -> None:
    placed = await venue.order(order_type="limit", limit_price=PRICE, after_market=True)
    await change(venue, placed.id, quantity=12, limit_price=PRICE - 100)
    assert await change_refused(venue, placed.id, validity=Validity.IOC) == ("invalid_after_market", "after_market")
    await venue.app.database.pool.fetchval("select orders_release($1, $2)", venue.tenant_id, placed.id)
    await venue.work()
    assert await venue.rows("select remaining from paper_orders") == [{"remaining": 12}]


async def test_exits_that_wait_for_their_entry_are_changed_within_the_sides_of_their_group(venue: Venue) -> None:
    entry = await bracket(venue)
    target, stop = await family(venue, entry.id)
    await change(venue, target["id"], limit_price=PRICE + 3_000)
    await change(venue, stop["id"], trigger_price=PRICE - 3_000)
    wrong: list[tuple[UUID, dict[str, Any], tuple[str, str]]] = [
        (target["id"], {"limit_price": PRICE - 100}, ("target_on_the_wrong_side", "limit_price")),
        (stop["id"], {"trigger_price": PRICE + 100}, ("stop_on_the_wrong_side", "trigger_price")),
        (stop["id"], {"quantity": 5}, ("order_not_changeable", "quantity")),
        (entry.id, {"limit_price": PRICE - 5_000}, ("stop_on_the_wrong_side", "limit_price")),
        (entry.id, {"validity": Validity.IOC}, ("invalid_validity", "validity")),
    ]
    for order_id, changes, refusal in wrong:
        assert await change_refused(venue, order_id, **changes) == refusal
    await change(venue, entry.id, quantity=6)
    assert [(one["status"], one["quantity"]) for one in await family(venue, entry.id)] == [("waiting", 6)] * 2
    await venue.work()
    await fill(venue, entry.id, 6)
    assert [(one["leg"], one["quantity"], one["limit_price"] or one["trigger_price"])
            for one in await family(venue, entry.id)] == [
        ("target", 6, PRICE + 3_000), ("stop", 6, PRICE - 3_000),
    ]  # fmt: skip
    await venue.is_sound()


async def test_a_change_and_the_sending_that_race_leave_one_order_of_one_size(venue: Venue) -> None:
    for _ in range(8):
        placed = await venue.order(order_type="limit", limit_price=DOWN)
        changing = change(venue, placed.id, quantity=3)
        sending = submit(venue.desk(), item(venue, placed.id))
        outcomes = await asyncio.gather(changing, sending, return_exceptions=True)
        assert all(one is None or isinstance(one, DomainError) for one in outcomes), outcomes
        await venue.work()
        row = await _row(venue, placed.id)
        (there,) = await venue.rows("select remaining from paper_orders where id = :id", id=placed.id)
        assert (row["status"], row["quantity"]) == ("open", there["remaining"])
    await venue.is_sound()


async def test_a_change_of_what_was_not_sent_is_done_when_it_is_answered(
    api: httpx.AsyncClient, tenant: TenantWithKey
) -> None:
    order = (await api.post("/v1/orders", headers=tenant.headers, json=await _body(api, tenant))).json()
    path, asked = f"/v1/orders/{order['id']}", {"quantity": "5", "validity": "gtc"}
    answer = await api.patch(path, headers=tenant.headers, json=asked)
    assert answer.status_code == 200, answer.text
    changed = answer.json()
    assert (changed["quantity"], changed["validity"], changed["pending_change"]) == ("5", "gtc", None)
    events = (await api.get("/v1/events?type=order.modified", headers=tenant.headers)).json()["data"]
    assert [event["data"] for event in events] in ([], [
        {"quantity": "5", "limit_price": "19.50", "trigger_price": None, "validity": "gtc"}
    ])  # fmt: skip
    for wrong, param in (({"validity": "ttl"}, "validity"), ({"parameters": {"trail_by": "1"}}, "parameters")):
        refused = await api.patch(path, headers=tenant.headers, json=wrong)
        assert (refused.status_code, refused.json()["param"]) == (422, param), refused.text
