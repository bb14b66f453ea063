"""Orders that are changed while they work: decided and reserved before anything is asked, given back afterwards."""

import asyncio
import contextlib
from dataclasses import replace
from random import Random
from typing import Any
from uuid import UUID

import httpx
import pytest

from app.bootstrap import App, open_brokers
from app.infra.work.runner import Retry, drain
from app.infra.work.tables import shard_of
from app.kernel.errors import DomainError
from app.kernel.orders import OrderType, Validity
from app.trading.brokers.ports import (
    Accepted,
    NotFound,
    Rejected,
    Report,
    Unknown,
    VenueStatus,
)
from app.trading.orders.service import handlers, open_desk
from app.trading.orders.service.adopting import adopt
from app.trading.orders.service.asking import modify
from app.trading.orders.service.executing import cancel, submit
from app.trading.orders.service.matching import match_entries
from app.trading.orders.service.outcomes import broker_order, read_state
from tests.factories.tenants import TenantWithKey
from tests.integration.trading.conftest import AT, PRICE, Venue
from tests.integration.trading.scripted import Scripted, change, held, item, report, told
from tests.integration.trading.test_orders_api import _body

LOW = PRICE - 10_000
LIMIT: dict[str, Any] = {"order_type": OrderType.LIMIT, "limit_price": LOW}
CAN_CHANGE = replace(Scripted([]).capabilities, modify=True)


async def _row(venue: Venue, order_id: UUID) -> dict[str, Any]:
    sql = "select status, quantity, filled_quantity, limit_price, hold_minor, pending_change from orders where id = :id"
    return (await venue.rows(sql, id=order_id))[0]


async def _resting(venue: Venue, **changes: Any) -> UUID:
    placed = await venue.order(**LIMIT | changes)
    await venue.work()
    return placed.id


async def _live(venue: Venue) -> UUID:
    """An order for 10 at 20.00 that works at a live broker."""
    placed = await venue.order(order_type=OrderType.LIMIT, limit_price=PRICE)
    await submit(venue.desk(Scripted([Accepted("V1")])), item(venue, placed.id))
    return placed.id


async def _asked(venue: Venue, order_id: UUID, *answers: Any) -> Scripted:
    script = Scripted(list(answers), capabilities=CAN_CHANGE)
    await modify(venue.desk(script), item(venue, order_id, "order.modify"))
    return script


def _shown(order_id: UUID, status: VenueStatus, quantity: int, price: str, *fills: int) -> Report:
    return replace(report(order_id, status, *fills), quantity=str(quantity), limit_price=price)


async def test_more_is_held_before_it_is_asked_for_and_the_order_fills_as_changed(venue: Venue) -> None:
    order_id = await _resting(venue)
    before = await held(venue)
    await change(venue, order_id, quantity=20, limit_price=LOW + 5_000)
    assert await held(venue) > 2 * before
    assert (await _row(venue, order_id))["quantity"] == 10
    await venue.work()
    row = await _row(venue, order_id)
    assert (row["quantity"], row["limit_price"], row["pending_change"]) == (20, LOW + 5_000, None)
    assert await held(venue) == row["hold_minor"]
    await venue.show(PRICE, LOW)
    assert (await _row(venue, order_id))["filled_quantity"] == 20
    assert "modified" in await told(venue, order_id)
    await venue.is_sound()


async def test_less_is_given_back_only_when_it_is_done(venue: Venue) -> None:
    order_id = await _resting(venue)
    before = await held(venue)
    await change(venue, order_id, quantity=4)
    assert await held(venue) == before
    await venue.work()
    assert 0 < await held(venue) < before // 2
    await venue.show(PRICE, LOW - 100)
    row = await _row(venue, order_id)
    assert (row["status"], row["filled_quantity"], await held(venue)) == ("filled", 4, 0)
    await venue.is_sound()


async def test_a_change_that_the_rules_or_the_cash_deny_leaves_everything_as_it_was(venue: Venue) -> None:
    order_id = await _resting(venue)
    before = (await _row(venue, order_id), await held(venue))
    for changes in ({"quantity": 100_000}, {"limit_price": PRICE * 2}, {"quantity": 527}):
        with pytest.raises(DomainError) as caught:
            await change(venue, order_id, **changes)
        assert caught.value.code == "change_denied"
    assert (await _row(venue, order_id), await held(venue), await venue.work()) == (*before, 0)


async def test_an_order_may_ask_for_less_while_trading_is_halted_and_for_no_more(venue: Venue) -> None:
    order_id = await _resting(venue)
    sql = "update accounts set status = 'reduce_only' where id = :id returning id"
    await venue.rows(sql, id=venue.account_id)
    with pytest.raises(DomainError):
        await change(venue, order_id, quantity=11)
    await change(venue, order_id, quantity=9)
    await venue.work()
    assert (await _row(venue, order_id))["quantity"] == 9


async def test_a_price_that_was_shown_before_the_change_does_not_fill_what_was_changed(venue: Venue) -> None:
    """The matcher had read it with the book as it was; nothing is doubled, and the matcher goes on."""
    order_id = await _resting(venue)
    entry = {
        "type": "price", "instrument_id": str(venue.instrument_id), "price": str(LOW - 100), "volume": "1",
        "at": AT.isoformat(), "first": "0",
    }  # fmt: skip
    stale = [(str(await venue.app.stream.xadd(f"feed:{venue.feed}", entry)), entry)]  # type: ignore[arg-type]
    await asyncio.sleep(0.01)
    await change(venue, order_id, quantity=20)
    await venue.work()
    await match_entries(venue.app, venue.feed, stale, after="0-0")
    assert (await _row(venue, order_id))["filled_quantity"] == 0
    await venue.show(LOW - 100)
    assert (await _row(venue, order_id))["filled_quantity"] == 20
    await venue.is_sound()


async def test_fills_cancels_and_changes_that_race_leave_the_books_sound(venue: Venue) -> None:
    random = Random(5)
    for _ in range(12):
        order_id = await _resting(venue)

        async def ask(quantity: int, order_id: UUID = order_id) -> None:
            await change(venue, order_id, quantity=quantity)
            await venue.work()

        async def stop(order_id: UUID = order_id) -> None:
            await cancel(venue.desk(), item(venue, order_id, "order.cancel"))

        racing = [ask(random.choice((4, 20))), venue.show(LOW - 100)] + ([stop()] if random.random() < 0.5 else [])
        random.shuffle(racing)
        for outcome in await asyncio.gather(*racing, return_exceptions=True):
            assert outcome is None or isinstance(outcome, DomainError | Retry), outcome
        await venue.work()
        row = await _row(venue, order_id)
        assert row["pending_change"] is None and row["filled_quantity"] in (0, row["quantity"])
        await cancel(venue.desk(), item(venue, order_id, "order.cancel"))
        await venue.is_sound()


async def test_a_broker_that_refuses_leaves_the_order_and_its_hold_as_they_were(live: Venue) -> None:
    order_id = await _live(live)
    before = (await _row(live, order_id), await held(live))
    await change(live, order_id, quantity=20)
    same = _shown(order_id, VenueStatus.OPEN, 10, "20.00")
    script = await _asked(live, order_id, Rejected("no"), same)
    assert script.asked == ["modify", "find"]
    assert (await _row(live, order_id), await held(live)) == before
    assert (await told(live, order_id))[-1] == "modify_rejected"


async def test_a_change_that_was_not_answered_is_looked_for_and_asked_for_again(live: Venue) -> None:
    order_id = await _live(live)
    await change(live, order_id, limit_price=LOW)
    with pytest.raises(Retry):
        await _asked(live, order_id, Unknown("?"), NotFound())
    with pytest.raises(Retry):
        await _asked(live, order_id, Unknown("?"), _shown(order_id, VenueStatus.OPEN, 10, "20.00"))
    await _asked(live, order_id, Unknown("?"), _shown(order_id, VenueStatus.OPEN, 10, "19.00"))
    row = await _row(live, order_id)
    assert (row["limit_price"], row["pending_change"]) == (LOW, None)
    assert await held(live) == row["hold_minor"]


async def test_a_change_that_came_through_unheard_is_done_though_its_repetition_is_refused(live: Venue) -> None:
    order_id = await _live(live)
    await change(live, order_id, quantity=12)
    filled = _shown(order_id, VenueStatus.FILLED, 12, "20.00", 12)
    await _asked(live, order_id, Rejected("it is not open"), filled)
    row = await _row(live, order_id)
    assert (row["status"], row["quantity"], row["filled_quantity"]) == ("filled", 12, 12)
    await live.is_sound()


async def test_another_validity_is_asked_of_a_broker_that_changes_it_and_refused_for_one_that_does_not(
    live: Venue,
) -> None:
    order_id = await _live(live)
    await change(live, order_id, validity=Validity.GTC)
    assert (await _asked(live, order_id)).asked == []
    assert (await told(live, order_id))[-1] == "modify_rejected"
    await change(live, order_id, validity=Validity.GTC)
    able = replace(CAN_CHANGE, changes_validity=True)
    for shown, answer in ((Validity.DAY, Unknown("?")), (Validity.GTC, Unknown("?"))):
        report_ = replace(_shown(order_id, VenueStatus.OPEN, 10, "20.00"), validity=shown)
        script = Scripted([answer, report_], capabilities=able)
        with contextlib.suppress(Retry):
            await modify(live.desk(script), item(live, order_id, "order.modify"))
    rows = await live.rows("select validity, pending_change from orders where id = :id", id=order_id)
    assert rows == [{"validity": "gtc", "pending_change": None}]


async def test_a_resting_order_at_paper_takes_another_validity_with_its_book(venue: Venue) -> None:
    order_id = await _resting(venue)
    await change(venue, order_id, validity=Validity.IOC)
    await venue.work()
    await venue.show(PRICE)
    assert (await _row(venue, order_id))["status"] == "cancelled"
    assert await held(venue) == 0


@pytest.mark.parametrize(("wanted", "fills"), [(12, (12,)), (4, (4,)), (12, (5, 7))])
async def test_fills_of_the_changed_order_may_be_heard_before_the_answer(
    live: Venue, wanted: int, fills: tuple[int, ...]
) -> None:
    order_id = await _live(live)
    await change(live, order_id, quantity=wanted)
    state = await read_state(live.app.database.pool, live.tenant_id, order_id)
    assert state is not None
    news = _shown(order_id, VenueStatus.FILLED, wanted, "20.00", *fills)
    await adopt(live.app.database.pool, broker_order(live.tenant_id, state), news, received_at=AT)
    row = await _row(live, order_id)
    assert (row["status"], row["quantity"], row["filled_quantity"]) == ("filled", wanted, wanted)
    assert (await _asked(live, order_id)).asked == []  # nothing is left to ask for
    assert await held(live) == 0
    await live.is_sound()


async def test_an_order_that_ends_before_its_change_is_asked_for_is_not_changed(live: Venue) -> None:
    order_id = await _live(live)
    await change(live, order_id, quantity=12)
    script = Scripted([Accepted("V1"), _shown(order_id, VenueStatus.CANCELLED, 10, "20.00")], capabilities=CAN_CHANGE)
    await cancel(live.desk(script), item(live, order_id, "order.cancel"))
    assert (await _asked(live, order_id)).asked == []
    row = await _row(live, order_id)
    assert (row["status"], row["pending_change"], await held(live)) == ("cancelled", None, 0)
    await live.is_sound()


async def _working(api: httpx.AsyncClient, app: App, tenant: TenantWithKey) -> dict[str, Any]:
    placed = (await api.post("/v1/orders", headers=tenant.headers, json=await _body(api, tenant))).json()
    await _work(app, tenant)
    found: dict[str, Any] = (await api.get(f"/v1/orders/{placed['id']}", headers=tenant.headers)).json()
    assert found["status"] == "open"
    return found


async def _work(app: App, tenant: TenantWithKey) -> None:
    desk = open_desk(app, open_brokers(app))
    await drain(app.database.dispatch, handlers(desk), "execution", shard_of(tenant.tenant_id), holder="t")


async def test_a_change_is_asked_for_and_shown_until_it_is_done(
    api: httpx.AsyncClient, app: App, tenant: TenantWithKey
) -> None:
    order = await _working(api, app, tenant)
    path = f"/v1/orders/{order['id']}"
    tag = (await api.get(path, headers=tenant.headers)).headers["ETag"]
    asked = await api.patch(path, headers=tenant.headers | {"If-Match": tag}, json={"limit_price": "19.60"})
    assert asked.status_code == 202, asked.text
    assert asked.json()["pending_change"] == {
        "quantity": "10",
        "limit_price": "19.60",
        "trigger_price": None,
        "validity": None,
    }
    assert asked.json()["limit_price"] == "19.50"
    again = await api.patch(path, headers=tenant.headers, json={"limit_price": "19.70"})
    assert (again.status_code, again.json()["code"]) == (409, "change_pending")
    stale = await api.patch(path, headers=tenant.headers | {"If-Match": tag}, json={"limit_price": "19.70"})
    assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
    await _work(app, tenant)
    done = (await api.get(path, headers=tenant.headers)).json()
    assert (done["limit_price"], done["pending_change"]) == ("19.60", None)


@pytest.mark.parametrize(
    ("changes", "status", "code", "param"),
    [
        ({}, 422, "nothing_to_change", None),
        ({"limit_price": "19.50"}, 422, "nothing_to_change", None),
        ({"limit_price": "19.505"}, 422, "off_tick", "limit_price"),
        ({"trigger_price": "21"}, 422, "invalid_trigger_price", "trigger_price"),
        ({"quantity": "0"}, 422, "invalid_request", "quantity"),
        ({"quantity": "1.5"}, 422, "too_precise", "quantity"),
        ({"side": "sell"}, 422, "invalid_request", "side"),
        ({"quantity": "100000"}, 409, "change_denied", None),
    ],
)
async def test_a_bad_change_is_refused_and_nothing_is_asked(
    api: httpx.AsyncClient, app: App, tenant: TenantWithKey, changes: dict[str, Any], status: int, code: str, param: Any
) -> None:
    order = await _working(api, app, tenant)
    answer = await api.patch(f"/v1/orders/{order['id']}", headers=tenant.headers, json=changes)
    assert (answer.status_code, answer.json()["code"], answer.json()["param"]) == (status, code, param), answer.text
    assert (await api.get(f"/v1/orders/{order['id']}", headers=tenant.headers)).json() == order
