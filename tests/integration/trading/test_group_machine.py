"""Whatever happens to a bracket, and in whatever order: its exits cover what is filled and not exited, never more."""

import random
from dataclasses import replace
from typing import Any

import pytest

from app.custody.accounts.domain import NewAccount
from app.custody.accounts.service import create_account
from app.custody.ledger.service import Books
from app.kernel.money import Money
from app.trading.orders.service import request_cancel
from tests.integration.trading.conftest import AT, PRICE, Venue
from tests.integration.trading.groups import bracket, family, fill, held
from tests.integration.trading.scripted import begun

ENDED = {"filled", "cancelled", "rejected", "expired", "lost"}
RESTS = {"open", "partially_filled"}
SEEDS, PARTS = 100, 4


class Life:
    """One bracket at the paper venue, and what a seed lets happen to it."""

    def __init__(self, venue: Venue, seed: int) -> None:
        self.venue = venue
        self.chance = random.Random(seed)
        self.unwanted: set[str] = set()

    async def run(self) -> None:
        self.parent = (await bracket(self.venue, quantity=self.chance.randint(1, 40))).id
        deeds = [self.fill_entry] * 4 + [self.fill_exit] * 3 + [self.work] * 4
        deeds += [self.interrupt, self.cancel_entry, self.cancel_exit, self.both_prices]
        for _ in range(self.chance.randint(5, 25)):
            await self.chance.choice(deeds)()
            await self.check()
        await self.work()
        await self.check()

    async def entry(self) -> dict[str, Any]:
        return (await self.venue.rows("select * from orders where id = :id", id=self.parent))[0]

    async def trade(self, order: dict[str, Any]) -> None:
        quantity = self.chance.randint(1, order["quantity"] - order["filled_quantity"])
        assert await fill(self.venue, order["id"], quantity) == "recorded"
        left = order["quantity"] - order["filled_quantity"] - quantity
        await self.venue.rows("select paper_reduce(:id, :left)", id=order["id"], left=left)

    async def fill_entry(self) -> None:
        entry = await self.entry()
        if entry["status"] in RESTS:
            await self.trade(entry)

    async def fill_exit(self) -> None:
        resting = [one for one in await family(self.venue, self.parent) if one["status"] in RESTS]
        if resting:
            await self.trade(self.chance.choice(resting))

    async def work(self) -> None:
        await self.venue.work()

    async def interrupt(self) -> None:
        """A worker is killed after it began to send one."""
        unsent = [one for one in await family(self.venue, self.parent) if one["status"] == "accepted"]
        if unsent:
            await begun(self.venue, self.chance.choice(unsent)["id"])

    async def cancel_entry(self) -> None:
        if (await self.entry())["status"] not in ENDED:
            await self.cancel(await self.entry())

    async def cancel_exit(self) -> None:
        working = [one for one in await family(self.venue, self.parent) if one["status"] not in ENDED]
        if working and self.chance.random() < 0.3:
            one = self.chance.choice(working)
            self.unwanted.add(one["leg"])
            await self.cancel(one)

    async def cancel(self, order: dict[str, Any]) -> None:
        async with self.venue.app.database.tx(self.venue.tenant_id) as tx:
            await request_cancel(tx, order["id"], now=AT)

    async def both_prices(self) -> None:
        """Target and stop of whatever rests are touched by one batch of the tape."""
        prices = [PRICE + 1_100, PRICE - 1_100]
        self.chance.shuffle(prices)
        await self.venue.show(*prices)

    async def check(self) -> None:
        children = await family(self.venue, self.parent)
        bought = (await self.entry())["filled_quantity"]
        exited = sum(one["filled_quantity"] for one in children)
        assert 0 <= await held(self.venue) == bought - exited
        for leg in ("target", "stop"):
            asked = sum(
                one["quantity"] - one["filled_quantity"]
                for one in children
                if one["leg"] == leg and one["status"] not in ENDED | {"waiting"}
            )
            assert asked <= bought - exited
            if leg not in self.unwanted:
                assert asked == bought - exited
        counted = sum(
            one["quantity"] - one["filled_quantity"]
            for one in children
            if one["counted"] and one["status"] not in ENDED | {"waiting"}
        )
        assert counted <= bought - exited
        if len(self.unwanted) < 2:
            assert counted == bought - exited


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS))
async def test_exits_cover_what_is_filled_and_not_exited(venue: Venue, part: int) -> None:
    for seed in range(part, SEEDS, PARTS):
        async with venue.app.database.tx(venue.tenant_id) as tx:
            asked = NewAccount(
                name="a", currency="USD", opening_balance=Money(1_000_000, "USD"), feed=venue.feed, slippage_bps=0
            )
            account = await create_account(tx, asked, books=Books(), now=AT)
        try:
            await Life(replace(venue, account_id=account.id), seed).run()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    await venue.is_sound()
