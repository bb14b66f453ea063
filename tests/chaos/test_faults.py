"""Random seeds: whatever fails at a call of the order path, nothing is lost and nothing is doubled.

The suite runs the first 150. `MANDI_FAULT_SEEDS=1000` runs as many as it says; then each call has failed before it
reached anybody, and after it took effect.
"""

import json
import logging
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from typing import Any, cast
from uuid import UUID

import pytest
import structlog
from fastapi import FastAPI

from app.custody.accounts.domain import NewAccount
from app.custody.accounts.service import create_account
from app.custody.ledger.service import Books
from app.infra.process import App
from app.kernel.money import Money
from app.kernel.orders import Mode, OrderStatus
from tests.chaos.callers import Door
from tests.chaos.checks import check
from tests.chaos.faults import Faults, Flaw, How, faulty
from tests.chaos.life import Life
from tests.factories.live_accounts import open_live_account
from tests.factories.tenants import make_key
from tests.integration.trading.conftest import AT, Venue, open_venue

SEEDS = int(os.environ.get("MANDI_FAULT_SEEDS", "150"))
pytestmark = [pytest.mark.chaos, pytest.mark.timeout(max(900, 4 * SEEDS))]
PARTS = 2
RATES = (0.0, 0.03, 0.1, 0.2)
TARGETS = 14
"""Of the calls' names and ways to fail, so many are sure to be met by a seed that comes there."""

BOTH_WAYS = (How.REFUSED, How.UNHEARD)
"""Each call must fail so: before it reached anybody, and after it took effect."""

FEW = 40
"""Seeds within which a planted flaw is found."""

CASH = 10**11
ONLY_AFTER_FAULTS = {"orders_cancel_asked", "work_done", "work_failed", "work_release"}
"""Calls that nobody makes while nothing fails."""

Aim = tuple[str, How]


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


async def open_door(app: App, gateway: FastAPI, desks: list[Venue]) -> Door:
    """With a key of its mode for each account."""
    headers: dict[UUID, Mapping[str, str]] = {}
    for desk in desks:
        mode = Mode.LIVE if desk.place else Mode.TEST
        key = await make_key(app.database, desk.tenant_id, now=datetime.now(UTC), mode=mode)
        headers[desk.account_id] = key.headers
    return Door(gateway, headers)


@asynccontextmanager
async def alive(
    app: App, desks: list[Venue], door: Door, seed: int, faults: Faults, flaw: Flaw | None = None, **flaws: Any
) -> AsyncIterator[Life]:
    process = faulty(app, faults, flaw or Flaw())
    try:
        yield Life(process, desks, seed, door, **flaws)
    finally:
        await process.poker.close()


async def live_through(
    app: App, desks: list[Venue], door: Door, seed: int, faults: Faults, **flaws: Any
) -> Counter[str]:
    """One seed, to its quiet end. How its orders ended; an AssertionError names the seed and what it aimed at."""
    began = await app.database.pool.fetchval("select clock_timestamp()")
    aims = [f"{name} {how}" for name, how in faults.targets]
    try:
        async with alive(app, desks, door, seed, faults, **flaws) as life:
            await life.run()
            faults.rate = 0.0
            await life.winds_down()  # what was aimed at is met here at the latest
            faults.targets = []
            await life.settle()
            return await check(life, began)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}, aimed at {aims}: {error}") from error


async def call_names(app: App, desks: list[Venue], door: Door) -> set[str]:
    """The calls of the path, as they are when nothing fails."""
    faults = Faults(Random(0))
    began = await app.database.pool.fetchval("select clock_timestamp()")
    async with alive(app, desks, door, -1, faults) as life:
        await life.tour()
        await life.settle()
        ends = await check(life, began)
    assert not ends["lost"], "lost, although nothing had failed"
    assert not ends["interrupted"], "interrupted, although nothing had failed"
    return set(faults.seen) | ONLY_AFTER_FAULTS


def aimed(pairs: list[Aim], met: Counter[Aim], random: Random) -> list[Aim]:
    """Half of them at what has been met least in ways that matter most, half anywhere."""
    wanted = [pair for pair in pairs if pair[1] in BOTH_WAYS]
    random.shuffle(wanted)
    rare = sorted(wanted, key=lambda pair: met[pair])[: TARGETS // 2]
    return rare + random.sample(pairs, TARGETS - len(rare))


@pytest.mark.parametrize("part", range(PARTS))
async def test_no_fault_at_any_call_loses_an_order_or_doubles_it(app: App, gateway_app: FastAPI, part: int) -> None:
    desks = await open_desks(app)
    door = await open_door(app, gateway_app, desks)
    pairs = [(name, how) for name in sorted(await call_names(app, desks, door)) for how in How]
    seen: Counter[str] = Counter()
    met: Counter[Aim] = Counter()
    ends: Counter[str] = Counter()
    for seed in range(part, SEEDS, PARTS):
        random = Random(seed)
        rate = random.choice(RATES)
        faults = Faults(random, rate, aimed(pairs, met, random) if rate else [])
        ends += await live_through(app, desks, door, seed, faults)
        seen += faults.seen
        met += faults.met
    names = {name for name, _ in pairs}
    assert set(seen) <= names, f"calls that the recording does not know: {set(seen) - names}"
    assert {"filled", "cancelled", "lost"} <= set(ends), ends
    wanted = [pair for pair in pairs if pair[1] in BOTH_WAYS]
    unmet = [f"{name} {how}" for name, how in wanted if not met[name, how]]
    if SEEDS >= 1_000:
        assert not unmet, f"never failed so: {unmet}"
    assert len(unmet) < len(wanted) / 4, f"the faults miss what they aim at: {unmet}"


def _from_anywhere(name: str, given: tuple[object, ...]) -> tuple[object, ...]:
    """An order becomes what it shall, whatever it is."""
    if name != "orders_transition":
        return given
    return *given[:2], [status.value for status in OrderStatus], *given[3:]


def _begun_again(name: str, said: Any) -> Any:
    """Whoever finds an order on its way sends it, as if it had just begun."""
    if name != "orders_begin" or said is None:
        return said
    state = json.loads(said)
    on_its_way = state["order"]["status"] == OrderStatus.SUBMITTING
    return json.dumps(state | {"begun": state["begun"] or on_its_way})


class Renaming:
    """A fill that is told again gets another number than before."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def __call__(self, name: str, given: tuple[object, ...]) -> tuple[object, ...]:
        if name != "orders_record_fills_each":
            return given
        tenants = [json.loads(fills) for fills in cast(list[str], given[1])]
        for fill in (fill for fills in tenants for fill in fills):
            number = fill["row"]["venue_fill_id"]
            if number in self._told and not number.replace("-", "").isdigit():  # the tape's own places are digits
                fill["row"]["venue_fill_id"] = f"{number}-{fill['row']['id']}"
            self._told.add(number)
        return given[0], [json.dumps(fills) for fills in tenants], *given[2:]


FLAWS: dict[str, tuple[str, dict[str, Any]]] = {
    "an order becomes anything from anywhere": ("'told'", {"flaw": Flaw(arguments=_from_anywhere)}),
    "a repeated order has another name": ("not one order each|two orders for one", {"forgetful": True}),
    "an order on its way is sent again": ("sent twice", {"flaw": Flaw(answer=_begun_again)}),
    "an unsure broker is believed to be sure": ("sent twice", {"sure": True}),
    "a fill has no number of its own": ("'fills'|never quiet", {"flaw": Flaw(arguments=Renaming())}),
}
"""What it is, what is said of it, how it is planted."""


@pytest.mark.parametrize("flaw", FLAWS)
async def test_the_seeds_find_that(app: App, gateway_app: FastAPI, flaw: str) -> None:
    said, planted = FLAWS[flaw]
    desks = await open_desks(app)
    door = await open_door(app, gateway_app, desks)
    with pytest.raises(AssertionError, match=said):
        for seed in range(FEW):
            await live_through(app, desks, door, seed, Faults(Random(seed), 0.1), **planted)
