"""Random seeds: whatever fails at a call of the order path, nothing is lost and nothing is doubled.

The suite runs the first 150; `MANDI_FAULT_SEEDS=1000` runs as many as it says.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any

import pytest
import structlog

from app.custody.accounts.domain import NewAccount
from app.custody.accounts.service import create_account
from app.custody.ledger.service import Books
from app.infra.process import App
from app.kernel.money import Money
from app.kernel.orders import OrderStatus
from app.trading.orders.domain.life import TRANSITIONS
from tests.chaos.faults import Faults, How, Rewrite, faulty
from tests.chaos.life import Intent, Life, UnsureBroker, ended_there
from tests.factories.live_accounts import open_live_account
from tests.integration.trading.conftest import AT, Venue, open_venue

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]
SEEDS = int(os.environ.get("MANDI_FAULT_SEEDS", "150"))
PARTS = 2
RATES = (0.0, 0.03, 0.1, 0.2)
TARGETS = 10
"""Of the calls' names and ways to fail, so many are sure to be met by a seed that comes there."""

CASH = 10**11
ONLY_AFTER_FAULTS = {"work_done", "work_failed", "work_release"}
"""Calls that nobody makes while nothing fails."""

INTERRUPTED = "it was interrupted on its way"
"""Why an order ended that no caller took back: two calls in a row failed, and nobody sends it again unasked."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Faults by the thousand are told to nobody: to print them costs more than to live through them."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


async def open_desks(app: App) -> list[Venue]:
    """Two tenants, each with an account on paper and one at a live broker (`place` 1)."""
    desks = []
    for _ in range(2):
        venue = await open_venue(app)
        async with app.database.tx(venue.tenant_id) as tx:
            asked = NewAccount(
                name="b", currency="USD", opening_balance=Money(CASH, "USD"), feed=venue.feed, slippage_bps=0
            )
            account = await create_account(tx, asked, books=Books(), now=AT)
        desks.append(replace(venue, account_id=account.id))
        live = await open_live_account(app.database, venue.tenant_id, feed=venue.feed, cash_minor=CASH, now=AT)
        desks.append(replace(venue, account_id=live, place=1))
    await app.database.dispatch.execute(
        "delete from work_items where queue = 'execution' and tenant_id <> all ($1)",
        [desk.tenant_id for desk in desks],
    )  # what earlier tests left would be worked on too
    return desks


async def check(life: Life) -> Counter[str]:
    """Ours is what the venues have, each intent is one order, and the books are right. How the orders ended."""
    ends: Counter[str] = Counter()
    assert max(life.broker.sent.values(), default=0) <= 1, "sent twice"
    for desk in {desk.tenant_id: desk for desk in life.desks}.values():
        theirs = [intent for intent in life.intents if intent.desk.tenant_id == desk.tenant_id]
        ends += await check_orders(life, desk, theirs)
        dead = await desk.rows("select kind, last_error from work_items where state = 'dead'")
        assert not dead, f"work died: {dead}"
        await desk.is_sound()
    return ends


async def check_orders(life: Life, desk: Venue, intents: list[Intent]) -> Counter[str]:
    rows = await desk.rows(
        """
        select o.id, o.client_order_id, o.broker, o.broker_tag, o.status, o.status_reason as reason, o.quantity,
               o.filled_quantity,
               (select count(*) from paper_orders p where p.id = o.id) as resting,
               (select jsonb_build_object('status', e.status, 'fill', e.fill->>'id') from paper_ended e
                where e.id = o.id) as ended,
               (select coalesce(jsonb_agg(jsonb_build_array(f.venue_fill_id, f.quantity)
                                          order by f.venue_fill_id), '[]')
                from fills f where f.order_id = o.id) as fills,
               (select jsonb_agg(v.type order by v.xid, v.id) from events v where v.subject_id = o.id) as told
        from orders o where o.client_order_id like :mine
        """,
        mine=f"{life.seed}-%",
    )
    assert Counter(row["id"] for row in rows) == Counter(intent.order_id for intent in intents), "not one order each"
    wanted = {intent.order_id: intent for intent in intents}
    for row in rows:
        assert sum(quantity for _, quantity in row["fills"]) == row["filled_quantity"] <= row["quantity"], row
        assert (row["status"] == "filled") == (row["filled_quantity"] == row["quantity"]), row
        check_told(row)
        asked = wanted[row["id"]]
        if row["status"] == "denied":
            assert row["broker_tag"] not in life.broker.sent
        elif row["broker"] == "paper":
            check_paper(row, asked)
        else:
            check_live(row, asked, life.broker)
    return Counter(row["status"] for row in rows)


def check_told(row: dict[str, Any]) -> None:
    """Its events are a walk through the table of transitions, to where it is. That it is on its way is not told."""
    told = [name.removeprefix("order.").replace("deferred", "accepted") for name in row["told"]]
    walk = [OrderStatus(name) for name in told if name in {status.value for status in OrderStatus}]
    assert walk[-1] == row["status"], row
    for before, after in pairwise(walk):
        on_its_way = before is OrderStatus.ACCEPTED and after in TRANSITIONS[OrderStatus.SUBMITTING]
        again = before is OrderStatus.PARTIALLY_FILLED and after is OrderStatus.OPEN
        assert after in TRANSITIONS[before] or on_its_way or again, row


def check_paper(row: dict[str, Any], asked: Intent) -> None:
    """A sure venue loses nothing: what nobody took back is filled, once, as the venue says."""
    assert row["resting"] == 0, row
    taken_back = asked.cancelling or row["reason"] == INTERRUPTED
    assert row["status"] in (("filled", "cancelled") if taken_back else ("filled",)), row
    executed = [row["ended"]["fill"]] if row["status"] == "filled" else []
    assert [name for name, _ in row["fills"]] == executed, row
    assert row["ended"] is None or row["ended"]["status"] == row["status"], row


def check_live(row: dict[str, Any], asked: Intent, broker: UnsureBroker) -> None:
    """What the broker has is ours. What it never got was taken back before, or its owner is told that it is lost."""
    there = broker.book.get(row["broker_tag"])
    if there is None:
        assert row["status"] in (("lost", "cancelled") if asked.cancelling else ("lost",)), row
        assert not row["fills"], row
        return
    assert row["status"] == ended_there(there.status), (row, there)
    assert row["fills"] == sorted([fill.id, int(fill.quantity)] for fill in there.fills), (row, there)


async def live_through(
    app: App, desks: list[Venue], seed: int, faults: Faults, rewrite: Rewrite | None = None, **flaws: Any
) -> Counter[str]:
    """One seed, to its quiet end. How its orders ended; an AssertionError names the seed."""
    process = faulty(app, faults, rewrite)
    life = Life(process, desks, seed, **flaws)
    try:
        await life.run()
        faults.rate, faults.targets = 0.0, []
        await life.settle()
        return await check(life)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from error
    finally:
        await process.poker.close()


async def call_names(app: App, desks: list[Venue]) -> set[str]:
    """The calls of the path, as they are when nothing fails."""
    faults = Faults(Random(0))
    process = faulty(app, faults)
    life = Life(process, desks, -1)
    await life.tour()
    await life.settle()
    ends = await check(life)
    await process.poker.close()
    assert not ends["lost"], "lost, although nothing had failed"
    taken_back = sum(intent.cancelling for intent in life.intents)
    assert ends["cancelled"] <= taken_back, "cancelled, although nothing had failed"
    return set(faults.seen) | ONLY_AFTER_FAULTS


@pytest.mark.parametrize("part", range(PARTS))
async def test_no_fault_at_any_call_loses_an_order_or_doubles_it(app: App, part: int) -> None:
    desks = await open_desks(app)
    pairs = [(name, how) for name in sorted(await call_names(app, desks)) for how in How]
    seen: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    for seed in range(part, SEEDS, PARTS):
        random = Random(seed)
        faults = Faults(random, random.choice(RATES), random.sample(pairs, TARGETS))
        ends += await live_through(app, desks, seed, faults)
        seen += faults.seen
    assert set(seen) <= {name for name, _ in pairs}, "a call that the recording does not know"
    assert {"filled", "cancelled", "lost"} <= set(ends), ends


def _from_anywhere(name: str, arguments: tuple[object, ...]) -> tuple[object, ...]:
    if name != "orders_transition":
        return arguments
    return *arguments[:2], [status.value for status in OrderStatus], *arguments[3:]


FLAWS: dict[str, tuple[str, dict[str, Any]]] = {
    "an order becomes anything from anywhere": ("frozenset", {"rewrite": _from_anywhere}),
    "a repeated order has another client order id": ("not one order each", {"forgetful": True}),
}
"""What it is, what is said of it, how it is planted."""


@pytest.mark.parametrize("flaw", FLAWS)
async def test_the_seeds_find_that(app: App, flaw: str) -> None:
    said, planted = FLAWS[flaw]
    desks = await open_desks(app)
    with pytest.raises(AssertionError, match=said):
        for seed in range(100):
            await live_through(app, desks, seed, Faults(Random(seed), 0.1), **planted)
