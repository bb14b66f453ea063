"""Orders that are sent in slices are changed as one: decided and reserved for all that works of them, or left alone."""

from dataclasses import replace
from random import Random
from typing import Any
from uuid import UUID

import httpx
import pytest

from app.bootstrap import App
from app.kernel.errors import DomainError
from app.kernel.ids import decode_id, encode_id
from app.kernel.orders import OrderClass, OrderType, Side, Validity
from app.trading.brokers.ports import Accepted, Rejected, Unknown, VenueStatus
from app.trading.orders.service import request_cancel
from app.trading.orders.service.asking import modify
from app.trading.orders.service.executing import submit
from app.trading.risk.service import TENANT, set_limit
from tests.factories.tenants import TenantWithKey
from tests.integration.trading.conftest import AT, PRICE, Venue
from tests.integration.trading.scripted import Scripted, change, held, item, report, told
from tests.integration.trading.test_orders_api import _body
from tests.integration.trading.test_slices import frozen as frozen
from tests.integration.trading.test_slices import slices, whole

pytestmark = pytest.mark.asyncio
LOW, UP = PRICE - 10_000, PRICE + 10_000
LIMIT: dict[str, Any] = {"order_type": OrderType.LIMIT, "limit_price": LOW, "quantity": 40, "validity": Validity.GTC}
ICEBERG: dict[str, Any] = LIMIT | {"order_class": OrderClass.ICEBERG, "slices": 3}
TRAIL: dict[str, Any] = {"order_type": "trailing_stop", "validity": Validity.GTC, "quantity": 40}
SMALLER = "the order was made smaller"
REFUSALS = {"nothing_to_change", "change_pending", "order_not_changeable", "quantity_filled"}
CAN_CHANGE = replace(Scripted([]).capabilities, modify=True)


async def refused(venue: Venue, order_id: UUID, **changes: Any) -> tuple[str, str | None]:
    before = (await whole(venue, order_id), await slices(venue, order_id), await held(venue))
    with pytest.raises(DomainError) as caught:
        await change(venue, order_id, **changes)
    assert (await whole(venue, order_id), await slices(venue, order_id), await held(venue)) == before
    return caught.value.code, caught.value.param


async def reserved(venue: Venue) -> int:
    """What the working orders are to hold by their own account."""
    sql = (
        "select coalesce(sum(orders_hold_left(o.hold_minor, o.quantity, o.filled_quantity)), 0)::bigint as held "
        "from orders o where o.counted and o.status in ('accepted', 'open', 'partially_filled', 'unknown')"
    )
    return int((await venue.rows(sql))[0]["held"])


async def test_every_slice_at_the_venue_is_asked_for_and_fills_as_changed(frozen: Venue) -> None:
    placed = await frozen.order(**LIMIT)
    await frozen.work()
    before = await held(frozen)
    await change(frozen, placed.id, limit_price=LOW + 5_000)
    found = await whole(frozen, placed.id)
    assert (found["limit_price"], found["status"], found["pending_change"]) == (LOW + 5_000, "open", None)
    parts = await slices(frozen, placed.id)
    assert {part["limit_price"] for part in parts} == {LOW}
    assert {part["pending_change"]["limit_price"] for part in parts} == {LOW + 5_000}
    assert await held(frozen) == found["hold_minor"] > before
    await frozen.work()
    parts = await slices(frozen, placed.id)
    assert {(part["limit_price"], part["pending_change"]) for part in parts} == {(LOW + 5_000, None)}
    assert sum(part["hold_minor"] for part in parts) == found["hold_minor"] == await held(frozen)
    assert (await told(frozen, placed.id))[-1] == "modified"
    await frozen.show(PRICE, LOW + 4_000)
    assert (await whole(frozen, placed.id))["status"] == "filled"
    assert await held(frozen) == 0
    await frozen.is_sound()


async def test_slices_that_were_not_sent_are_changed_at_once(frozen: Venue) -> None:
    placed = await frozen.order(**LIMIT)
    before = await held(frozen)
    await change(frozen, placed.id, limit_price=LOW - 5_000, validity=Validity.DAY)
    found, parts = await whole(frozen, placed.id), await slices(frozen, placed.id)
    changed = {(one["limit_price"], one["validity"], one["pending_change"]) for one in (found, *parts)}
    assert changed == {(LOW - 5_000, "day", None)}
    assert await held(frozen) == found["hold_minor"] == sum(part["hold_minor"] for part in parts) < before
    (event,) = await frozen.rows(
        "select data from events where subject_id = :id and type = 'order.modified'", id=placed.id
    )
    assert event["data"] == {
        "quantity": "40",
        "limit_price": str((LOW - 5_000) // 10_000) + ".50",
        "trigger_price": None,
        "validity": "day",
    }
    await frozen.work()
    await frozen.show(PRICE, LOW - 6_000)
    assert (await whole(frozen, placed.id))["status"] == "filled"
    await frozen.is_sound()


async def test_of_an_iceberg_the_slice_that_is_shown_and_those_that_are_not_are_changed(frozen: Venue) -> None:
    placed = await frozen.order(**ICEBERG)
    await frozen.work()
    await frozen.show(PRICE, LOW - 100)
    await frozen.work()
    await change(frozen, placed.id, limit_price=LOW - 5_000)
    await frozen.work()
    filled, shown, hidden = await slices(frozen, placed.id)
    assert (filled["status"], filled["limit_price"]) == ("filled", LOW)
    assert (shown["status"], shown["limit_price"]) == ("open", LOW - 5_000)
    assert (hidden["status"], hidden["limit_price"]) == ("accepted", LOW - 5_000)
    assert len(await frozen.rows("select 1 from paper_orders")) == 1
    for _ in range(2):
        await frozen.show(PRICE, LOW - 6_000)
        await frozen.work()
    assert (await whole(frozen, placed.id))["status"] == "filled"
    await frozen.is_sound()


@pytest.mark.parametrize(
    "shown", [{"order_class": OrderClass.ICEBERG, "slices": 20}, {"disclosed_quantity": 20}, {"disclosed_quantity": 10}]
)
async def test_any_number_of_slices_is_changed_however_it_was_asked_for(frozen: Venue, shown: dict[str, Any]) -> None:
    placed = await frozen.order(**LIMIT | {"quantity": 200 if "slices" in shown else 100} | shown)
    parts = await slices(frozen, placed.id)
    assert len(parts) in (20, 7, 10), (placed.reasons, [part["quantity"] for part in parts])
    await change(frozen, placed.id, limit_price=LOW + 100)
    found, parts = await whole(frozen, placed.id), await slices(frozen, placed.id)
    assert {one["limit_price"] for one in (found, *parts)} == {LOW + 100}
    assert found["parameters"] is None
    assert (await frozen.rows("select count(*) as n from orders where parameters is not null"))[0]["n"] == 0
    assert await held(frozen) == found["hold_minor"] == sum(part["hold_minor"] for part in parts)
    await frozen.work()
    await frozen.show(PRICE, LOW - 100)
    assert (await whole(frozen, placed.id))["filled_quantity"] == parts[0]["quantity"]
    await frozen.is_sound()


async def test_of_a_trailing_iceberg_the_distance_is_changed_and_each_slice_is_sent_once(frozen: Venue) -> None:
    trail = TRAIL | {"order_class": OrderClass.ICEBERG, "slices": 3}
    placed = await frozen.order(**trail, parameters={"trail_by": "0.50"})
    wider = {"trail_by": "1.00"}
    await change(frozen, placed.id, parameters={"trail_by": "1.00"})
    found, parts = await whole(frozen, placed.id), await slices(frozen, placed.id)
    assert [one["parameters"] for one in (found, *parts)] == [wider] * 4
    assert found["trigger_price"] == parts[0]["trigger_price"] == PRICE + 10_000
    await frozen.show(PRICE + 5_000)
    assert await frozen.work() == 0
    for _ in range(3):
        await frozen.show(PRICE + 10_000)
        await frozen.work()
        await frozen.show(PRICE + 10_000)
    assert (await whole(frozen, placed.id))["status"] == "filled"
    assert len(await frozen.rows("select 1 from fills")) == 3
    await frozen.is_sound()


async def test_slices_that_wait_for_the_next_session_or_a_price_follow_what_they_wait_for(frozen: Venue) -> None:
    gtt = {"order_type": "sl", "trigger_price": UP, "limit_price": UP + 1_000, "validity": Validity.GTT}
    waiting = await frozen.order(**gtt, quantity=40)
    tomorrow = await frozen.order(**LIMIT | {"validity": Validity.DAY}, after_market=True)
    await change(frozen, waiting.id, trigger_price=UP + 2_000, limit_price=UP + 3_000)
    await change(frozen, tomorrow.id, limit_price=LOW - 100)
    waits = await frozen.rows("select waits_for, trigger_price from waiting_orders order by id")
    assert [(row["waits_for"], row["trigger_price"]) for row in waits] == [("price", UP + 2_000)] * 3 + [
        ("open", None)
    ] * 3
    assert {one["limit_price"] for one in await slices(frozen, tomorrow.id)} == {LOW - 100}
    await frozen.show(UP + 1_500)
    assert await frozen.work() == 0
    await frozen.show(UP + 2_000)
    assert await frozen.work() == 3
    await frozen.is_sound()


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"quantity": 40}, ("nothing_to_change", None)),
        ({"quantity": 42}, ("off_lot", "quantity")),
        ({"quantity": 190}, ("above_freeze", "quantity")),
        ({"limit_price": LOW}, ("nothing_to_change", None)),
        ({"limit_price": LOW + 1}, ("off_tick", "limit_price")),
        ({"trigger_price": PRICE}, ("invalid_trigger_price", "trigger_price")),
        ({"limit_price": PRICE * 20}, ("change_denied", None)),
        ({"validity": Validity.TTL}, ("invalid_validity", "validity")),
    ],
)
@pytest.mark.parametrize("worked", [False, True])
async def test_what_cannot_be_leaves_every_slice_as_it_was(
    frozen: Venue, worked: bool, changes: dict[str, Any], refusal: tuple[str, str | None]
) -> None:
    placed = await frozen.order(**LIMIT)
    if worked:
        await frozen.work()
    assert await refused(frozen, placed.id, **changes) == refusal
    first = (await slices(frozen, placed.id))[0]
    assert (await refused(frozen, first["id"], limit_price=LOW + 100))[0] == "order_not_changeable"
    await frozen.is_sound()


async def test_what_the_slices_hold_counts_for_the_change_and_together_they_must_be_paid_for(frozen: Venue) -> None:
    (cash,) = await frozen.rows("select posted - pending_out as free from ledger_accounts where kind = 'client_cash'")
    placed = await frozen.order(**LIMIT | {"quantity": 150})
    rest = int(cash["free"] - 3_100_00) // (LOW // 100)
    other = await frozen.order(**LIMIT | {"quantity": rest, "instrument_id": await liquid(frozen)})
    assert (placed.status, other.status) == ("accepted", "accepted"), (placed.reasons, other.reasons)
    for worked in (False, True):
        await change(frozen, placed.id, limit_price=LOW + 5_000 * (1 + worked))
        await frozen.work()
        with pytest.raises(DomainError, match="available_funds") as caught:
            await change(frozen, placed.id, limit_price=PRICE + 10_000)
        assert caught.value.code == "change_denied"
    await frozen.is_sound()


async def liquid(frozen: Venue) -> UUID:
    """An instrument of no freeze quantity."""
    return UUID(str((await frozen.rows("select id from instruments where symbol = 'AAPL'"))[0]["id"]))


async def test_an_order_is_not_changed_while_a_slice_is_on_its_way(frozen: Venue) -> None:
    placed = await frozen.order(**LIMIT)
    first, *_ = await slices(frozen, placed.id)
    await submit(frozen.desk(Scripted([Unknown("?")])), item(frozen, first["id"]))
    assert await refused(frozen, placed.id, limit_price=LOW + 100) == ("order_not_changeable", None)


async def test_an_order_that_has_ended_is_not_changed(frozen: Venue) -> None:
    ended = await frozen.order(**LIMIT)
    await frozen.work()
    async with frozen.app.database.tx(frozen.tenant_id) as tx:
        await request_cancel(tx, ended.id, now=AT)
    await frozen.work()
    assert (await whole(frozen, ended.id))["status"] == "cancelled"
    assert (await refused(frozen, ended.id, limit_price=LOW + 100))[0] == "order_not_changeable"


async def test_a_second_change_waits_until_every_broker_has_answered_the_first(frozen: Venue) -> None:
    placed = await frozen.order(**LIMIT)
    await frozen.work()
    await change(frozen, placed.id, limit_price=LOW + 100)
    assert await refused(frozen, placed.id, limit_price=LOW + 200) == ("change_pending", None)
    await frozen.work()
    await change(frozen, placed.id, limit_price=LOW + 200)


async def test_a_slice_that_its_broker_leaves_as_it_was_says_so_and_holds_what_it_did(frozen: Venue) -> None:
    placed = await frozen.order(**LIMIT)
    parts = await slices(frozen, placed.id)
    for number, part in enumerate(parts):
        await submit(frozen.desk(Scripted([Accepted(f"V{number}")])), item(frozen, part["id"]))
    await change(frozen, placed.id, limit_price=LOW + 5_000)
    for part in parts[:2]:
        changes = Scripted([Accepted("V")], capabilities=CAN_CHANGE)
        await modify(frozen.desk(changes), item(frozen, part["id"], "order.modify"))
    shown = replace(report(parts[2]["id"], VenueStatus.OPEN), quantity="10", limit_price=str(LOW // 10_000) + ".0000")
    refuses = Scripted([Rejected("too late"), shown], capabilities=CAN_CHANGE)
    await modify(frozen.desk(refuses), item(frozen, parts[2]["id"], "order.modify"))
    parts = await slices(frozen, placed.id)
    assert [part["limit_price"] for part in parts] == [LOW + 5_000, LOW + 5_000, LOW]
    assert (await told(frozen, parts[2]["id"]))[-1] == "modify_rejected"
    assert await held(frozen) == sum(part["hold_minor"] for part in parts)
    await change(frozen, placed.id, limit_price=LOW + 6_000)  # it may be asked for again
    assert {one["pending_change"]["limit_price"] for one in await slices(frozen, placed.id)} == {LOW + 6_000}


async def test_whatever_happens_between_the_holds_are_those_of_what_works(frozen: Venue) -> None:
    for seed in range(10):
        chance = Random(seed)
        placed = await frozen.order(**chance.choice([LIMIT, ICEBERG]))
        for _ in range(14):
            match chance.randrange(5):
                case 0 | 1:
                    asked = {
                        "limit_price": LOW + chance.randrange(-40, 41) * 100,
                        "quantity": chance.randrange(1, 19) * 5,
                    }
                    for name in chance.choice([("limit_price",), ("quantity",), ()]):
                        del asked[name]
                    try:
                        await change(frozen, placed.id, **asked)
                    except DomainError as error:
                        assert error.code in REFUSALS, error
                case 2:
                    await frozen.work()
                case 3:
                    await frozen.show(PRICE, LOW + chance.randrange(-30, 60) * 100)
                case _:
                    one = chance.choice(await slices(frozen, placed.id))
                    if chance.random() < 0.3 and one["status"] in ("accepted", "open"):
                        async with frozen.app.database.tx(frozen.tenant_id) as tx:
                            await request_cancel(tx, one["id"], now=AT)
            await frozen.is_sound()
        await frozen.work()
        assert await held(frozen) == await reserved(frozen)
        parts, found = await slices(frozen, placed.id), await whole(frozen, placed.id)
        assert found["filled_quantity"] == sum(part["filled_quantity"] for part in parts)
        assert found["quantity"] == sum(
            part["filled_quantity" if part["status_reason"] == SMALLER else "quantity"] for part in parts
        )


async def test_the_api_says_202_while_a_broker_is_asked_and_200_when_it_is_done(
    api: httpx.AsyncClient, app: App, tenant: TenantWithKey, frozen: Venue
) -> None:
    await app.database.reference.execute(
        "insert into last_prices (feed, instrument_id, price, market_at, session_date) "
        "select feed, $1, price, market_at, session_date from last_prices where feed = 'replay' limit 1",
        frozen.instrument_id,
    )
    body = await _body(api, tenant, quantity="40", instrument_id=encode_id("ins", frozen.instrument_id))
    placed = (await api.post("/v1/orders", headers=tenant.headers, json=body)).json()
    path = f"/v1/orders/{placed['id']}"
    changed = await api.patch(path, headers=tenant.headers, json={"limit_price": "19.00"})
    assert changed.status_code == 200, changed.text
    assert changed.json()["limit_price"] == "19.00"
    assert [one["limit_price"] for one in changed.json()["children"]] == ["19.00"] * 3
    venue = replace(frozen, tenant_id=tenant.tenant_id, account_id=decode_id("acc", body["account_id"]))
    await venue.work()
    changed = await api.patch(path, headers=tenant.headers, json={"limit_price": "18.00"})
    assert (changed.status_code, changed.json()["limit_price"]) == (202, "18.00")
    assert [one["pending_change"]["limit_price"] for one in changed.json()["children"]] == ["18.00"] * 3
    await venue.work()
    changed = await api.patch(path, headers=tenant.headers, json={"quantity": "30"})
    assert (changed.status_code, changed.json()["quantity"]) == (202, "40")  # a broker is asked to take the last back
    await venue.work()
    shown = (await api.get(path, headers=tenant.headers)).json()
    assert (shown["quantity"], shown["status"]) == ("30", "open")
    changed = await api.patch(path, headers=tenant.headers, json={"quantity": "40"})
    assert (changed.status_code, changed.json()["quantity"]) == (200, "40")


async def test_a_sell_in_slices_is_changed_and_holds_nothing(frozen: Venue) -> None:
    await frozen.order(quantity=40)
    await frozen.work()
    await frozen.show(PRICE)
    placed = await frozen.order(**LIMIT | {"side": Side.SELL, "limit_price": UP})
    await frozen.work()
    await change(frozen, placed.id, limit_price=UP - 5_000)
    assert await held(frozen) == 0
    await frozen.work()
    await frozen.show(UP - 5_000, UP - 4_000)
    assert (await whole(frozen, placed.id))["status"] == "filled"
    await frozen.is_sound()


async def test_the_rules_see_what_is_left_of_it_and_not_its_slices_beside_it(frozen: Venue) -> None:
    async with frozen.app.database.tx(frozen.tenant_id) as tx:
        await set_limit(tx, TENANT, "max_open_orders", {"limit": 1})
        await set_limit(tx, TENANT, "max_position", {"limit": "761.00"})
    placed = await frozen.order(**LIMIT)
    assert placed.status == "accepted", placed.reasons
    await frozen.work()
    await change(frozen, placed.id, limit_price=LOW + 100)
    await frozen.work()
    assert (await frozen.order(**LIMIT | {"quantity": 5})).status == "denied"
    assert (await refused(frozen, placed.id, limit_price=PRICE))[0] == "change_denied"
    first = (await slices(frozen, placed.id))[0]
    async with frozen.app.database.tx(frozen.tenant_id) as tx:
        await request_cancel(tx, first["id"], now=AT)
    await frozen.work()
    await change(frozen, placed.id, limit_price=PRICE)  # 25 of 40 are left
    await frozen.work()
    async with frozen.app.database.tx(frozen.tenant_id) as tx:
        await set_limit(tx, TENANT, "max_position", {"limit": "501.00"})
    assert (await refused(frozen, placed.id, limit_price=PRICE + 500))[0] == "change_denied"
