"""What must be so when a seed has come to rest, whatever failed on the way.

Ours is what the venues have, each intent is one order, exits sell what was bought and no more, the books are right.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

from app.kernel.orders import OrderStatus
from app.trading.brokers.ports import VenueStatus
from app.trading.orders.domain.life import TRANSITIONS
from tests.chaos.callers import Callers, Intent
from tests.chaos.life import Life, UnsureBroker
from tests.integration.trading.conftest import Venue

INTERRUPTED = "it was interrupted on its way"
"""Why an order ended that no caller took back: two calls in a row failed, and nobody sends it again unasked."""

BY_ITS_GROUP = {"the other exit was filled", "the entry ended"}
Row = Mapping[str, Any]
_ORDERS = """
    select o.id, o.parent_id, o.account_id, o.client_order_id, o.order_class, o.leg, o.intent_reason, o.broker,
           o.broker_tag, o.status, o.status_reason as reason, o.quantity, o.filled_quantity, o.pair_quantity,
           (select count(*) from paper_orders p where p.id = o.id) as resting,
           (select jsonb_build_object('status', e.status, 'fill', e.fill->>'id') from paper_ended e
            where e.id = o.id) as ended,
           (select coalesce(jsonb_agg(jsonb_build_array(f.venue_fill_id, f.quantity)
                                      order by f.venue_fill_id), '[]')
            from fills f where f.order_id = o.id) as fills,
           (select jsonb_agg(v.type order by v.xid, v.id) from events v where v.subject_id = o.id) as told
    from orders o where o.created_at >= :began
"""
_EXITS = """
    select lane as account_id, count(distinct payload->>'request') as asked from work_items
    where kind = 'position.exit' and created_at >= :began group by 1
"""


async def check(life: Life, began: datetime) -> Counter[str]:
    """How the orders ended that were placed since `began`."""
    ends: Counter[str] = Counter()
    assert max(life.broker.sent.values(), default=0) <= 1, "sent twice"
    for desk in {desk.tenant_id: desk for desk in life.desks}.values():
        rows = await desk.rows(_ORDERS, began=began)
        check_orders(rows, life.callers, desk.tenant_id, life.broker)
        ends += Counter(row["status"] for row in rows)
        ends["interrupted"] += sum(row["status"] == "cancelled" and row["reason"] == INTERRUPTED for row in rows)
        await check_exits(desk, life.callers, began)
        dead = await desk.rows("select kind, last_error from work_items where state = 'dead'")
        assert not dead, f"work died: {dead}"
        await desk.is_sound()
    return ends


def check_orders(rows: Sequence[Row], callers: Callers, tenant_id: UUID, broker: UnsureBroker) -> None:
    intents = {intent.order_id: intent for intent in callers.intents if intent.desk.tenant_id == tenant_id}
    placed = Counter(row["id"] for row in rows if row["parent_id"] is None and row["intent_reason"] is None)
    assert placed == Counter(intents.keys()) and len(placed) == _count(callers, tenant_id), "not one order each"
    for row in rows:
        assert sum(quantity for _, quantity in row["fills"]) == row["filled_quantity"] <= row["quantity"], row
        assert (row["status"] == "filled") == (row["filled_quantity"] == row["quantity"]), row
        check_told(row)
        if row["status"] == "denied":
            assert row["broker_tag"] not in broker.sent
        elif row["broker"] == "paper":
            check_paper(row, may_be_taken_back(row, intents, callers.left))
        else:
            check_live(row, may_be_taken_back(row, intents, callers.left), broker)
    for row in rows:
        if row["leg"] in ("entry", "target") and row["parent_id"] is None and row["status"] != "denied":
            check_group(row, [one for one in rows if one["parent_id"] == row["id"]], callers.left)


def _count(callers: Callers, tenant_id: UUID) -> int:
    return sum(intent.desk.tenant_id == tenant_id for intent in callers.intents)


def may_be_taken_back(row: Row, intents: Mapping[UUID | None, Intent], left: set[UUID]) -> bool:
    """Whether somebody asked for it, or it ends with the others of its group."""
    if row["account_id"] in left or row["reason"] in BY_ITS_GROUP:
        return True
    if row["order_class"] == "oco":  # both ways out are one order to whoever placed it
        return intents[row["parent_id"] or row["id"]].cancelling
    return row["id"] in intents and intents[row["id"]].cancelling


def check_told(row: Row) -> None:
    """Its events are a walk through the table of transitions, to where it is. That it is on its way is not told."""
    told = [name.removeprefix("order.").replace("deferred", "accepted") for name in row["told"]]
    walk = [OrderStatus(name) for name in told if name in {status.value for status in OrderStatus}]
    assert walk[-1] == row["status"], row
    for before, after in pairwise(walk):
        on_its_way = before is OrderStatus.ACCEPTED and after in TRANSITIONS[OrderStatus.SUBMITTING]
        again = before is OrderStatus.PARTIALLY_FILLED and after is OrderStatus.OPEN
        assert after in TRANSITIONS[before] or on_its_way or again, row


def check_paper(row: Row, taken_back: bool) -> None:
    """A sure venue loses nothing: what nobody took back is filled, once, as the venue says."""
    assert row["resting"] == 0, row
    taken_back = taken_back or row["reason"] == INTERRUPTED
    assert row["status"] in (("filled", "cancelled") if taken_back else ("filled",)), row
    executed = [row["ended"]["fill"]] if row["status"] == "filled" else []
    assert [name for name, _ in row["fills"]] == executed, row
    assert row["ended"] is None or row["ended"]["status"] == row["status"], row


def check_live(row: Row, taken_back: bool, broker: UnsureBroker) -> None:
    """What the broker has is ours. What it never got was taken back before, or its owner is told that it is lost."""
    there = broker.book.get(row["broker_tag"])
    if there is None:
        assert row["status"] in (("lost", "cancelled") if taken_back else ("lost",)), row
        assert not row["fills"], row
        return
    brought_down = there.status is VenueStatus.FILLED and there.quantity < row["quantity"]  # and that was never heard
    ended = "filled" if there.status is VenueStatus.FILLED and not brought_down else "cancelled"
    assert there.status is not VenueStatus.OPEN and row["status"] == ended, (row, there)
    assert row["fills"] == sorted([fill.id, int(fill.quantity)] for fill in there.fills), (row, there)


def check_group(parent: Row, children: Sequence[Row], left: set[UUID]) -> None:
    """Its exits sold what they were to sell: no more, unless two raced at the broker and that was told; and no less,
    unless of each way out an order was lost or taken back."""
    ways = list(children) if parent["leg"] == "entry" else [parent, *children]
    opened = parent["filled_quantity"] if parent["leg"] == "entry" else parent["pair_quantity"]
    sold = sum(way["filled_quantity"] for way in ways)
    family = (parent, children)
    raced = parent["broker"] != "paper" and "order.group_overfilled" in parent["told"]
    assert sold <= opened or raced, family
    gone = {
        way["leg"]
        for way in ways
        if way["status"] == "lost"
        or (way["status"] == "cancelled" and (way["reason"] == INTERRUPTED or "requested" in (way["reason"] or "")))
    }
    assert sold >= opened or gone == {way["leg"] for way in ways} or parent["account_id"] in left, family


async def check_exits(desk: Venue, callers: Callers, began: datetime) -> None:
    """Whoever wanted to leave did so once, and nobody sold on paper what he did not hold."""
    asked = Counter(leaving.desk.account_id for leaving in callers.leavings)
    for row in await desk.rows(_EXITS, began=began):
        assert row["asked"] <= asked[row["account_id"]], f"left more often than was asked: {row}"
    short = await desk.rows(
        "select p.account_id, p.quantity from positions p join accounts a on a.id = p.account_id "
        "where a.broker = 'paper' and p.product = 'delivery' and p.quantity < 0"
    )
    assert not short, f"sold what was not held: {short}"
