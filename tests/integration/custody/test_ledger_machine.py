"""Any sequence of what can happen to the books, against a model of whole numbers; the books prove themselves each time.

What always holds: every transaction sums to zero; holds never exceed what can be traded with; unsettled and settled are
the fills; settled and waiting securities are the bought less the sold; no client's settled cash is below zero; and the
pool covers every client.
"""

import random
from collections import defaultdict
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg
import pytest

from app.custody.ledger.repository import ledger_error
from app.custody.ledger.service import segregation
from app.infra.database import Database
from app.kernel.ids import uuid7
from tests.integration.custody.conftest import NOW, Books, make_tenant

pytestmark = pytest.mark.asyncio
OPENING, ACCOUNTS, STEPS = 10_000, 3, 120


@dataclass
class Day:
    """What an account's trades of one day have left."""

    receivable: int = 0
    payable: int = 0
    cash: int = 0
    units: int = 0


@dataclass
class Client:
    settled: int = OPENING
    held: dict[UUID, int] = field(default_factory=dict)
    days: list[Day] = field(default_factory=lambda: [Day()])
    units: int = 0
    charges: int = 0

    @property
    def traded(self) -> int:
        return self.settled + sum(day.receivable - day.payable for day in self.days)

    @property
    def available(self) -> int:
        return self.traded - sum(self.held.values())

    @property
    def withdrawable(self) -> int:
        return self.settled - sum(day.payable for day in self.days) - sum(self.held.values())

    @property
    def waiting(self) -> int:
        return sum(day.units for day in self.days)


class Machine:
    """The books, the model, and one random step after another."""

    def __init__(self, books: Books, accounts: list[UUID], instrument: UUID, seed: int) -> None:
        self.books, self.instrument, self.chance = books, instrument, random.Random(seed)
        self.clients = {account: Client() for account in accounts}
        self.done: defaultdict[str, int] = defaultdict(int)

    async def step(self) -> None:
        account = self.chance.choice(list(self.clients))
        client = self.clients[account]
        name = self.chance.choice(["hold", "void", "buy", "buy", "sell", "settle", "withdraw", "deposit", "dawn"])
        self.done[name] += await getattr(self, f"_{name}")(account, client)

    async def _refused(self, sql: str, *arguments: object) -> bool:
        """Whether the ledger says that the money is not there."""
        try:
            await self.books.call(sql, *arguments)
        except asyncpg.PostgresError as error:
            meant = ledger_error(error)
            assert meant is not None and meant.code == "insufficient_funds", error
            return True
        return False

    async def _hold(self, account: UUID, client: Client) -> bool:
        amount, order = self.chance.randint(1, 4_000), uuid7()
        refused = await self._refused("select ledger_hold($1, $2, $3)", order, account, amount)
        assert refused == (amount > client.available)
        if not refused:
            client.held[order] = amount
        return not refused

    async def _void(self, account: UUID, client: Client) -> bool:
        if client.held:
            order = self.chance.choice(list(client.held))
            assert await self.books.void(order) == client.held.pop(order)
        return True

    async def _buy(self, account: UUID, client: Client) -> bool:
        """A purchase uses its hold up, and never costs more than it."""
        if not client.held:
            return False
        order = self.chance.choice(list(client.held))
        held = client.held.pop(order)
        charges = self.chance.randint(0, min(held, 5))
        await self._fill(account, client, -(held - charges), charges, self.chance.randint(1, 9), order)
        return True

    async def _sell(self, account: UUID, client: Client) -> bool:
        units = client.units + client.waiting
        if units <= 0:
            return False
        await self._fill(account, client, self.chance.randint(10, 3_000), 3, -self.chance.randint(1, units), None)
        return True

    async def _fill(
        self, account: UUID, client: Client, cash: int, charges: int, units: int, order: UUID | None
    ) -> None:
        fill = uuid7()
        for replayed in (False, True):
            answer = await self.books.settle(account, cash, charges, fill=fill, order=order)
            assert answer["replayed"] == replayed
        net, day = cash - charges, client.days[-1]
        day.receivable, day.payable = day.receivable + max(net, 0), day.payable + max(-net, 0)
        day.cash, day.units = day.cash + cash, day.units + units
        client.charges += charges

    async def _settle(self, account: UUID, client: Client) -> bool:
        """The oldest day settles, as days do; a new one begins."""
        day = client.days.pop(0)
        if not client.days:
            client.days.append(Day())
        settlement = uuid7()
        sql = "select ledger_settle_trades($1, $2, $3, $4, $5, $6, $7, $8, '{}')"
        where = (self.instrument, day.units, NOW)
        if day == Day():
            return False
        for posted in (True, False):
            asked = (settlement, account, day.receivable, day.payable, day.cash, *where)
            assert await self.books.value(sql, *asked) == posted
        client.settled += day.receivable - day.payable
        client.units += day.units
        return True

    async def _dawn(self, account: UUID, client: Client) -> bool:
        """The next trading day begins."""
        if len(client.days) < 2:
            client.days.append(Day())
        return True

    async def _withdraw(self, account: UUID, client: Client) -> bool:
        amount, hold = self.chance.randint(1, 5_000), uuid7()
        refused = await self._refused("select ledger_hold_settled($1, $2, $3)", hold, account, amount)
        assert refused == (amount > client.withdrawable)
        if refused:
            return False
        pay = "select ledger_pay_out_held($1, $2, $3, $4, $5, $6, '{}')"
        for _ in range(2):
            await self.books.call(pay, hold, account, amount, uuid7(), f"w{hold}", NOW)
        client.settled -= amount
        return True

    async def _deposit(self, account: UUID, client: Client) -> bool:
        amount = self.chance.randint(1, 2_000)
        legs = [
            await self.books.value(
                "select id from ledger_accounts where account_id = $1 and kind = 'client_cash'", account
            ),
            await self.books.value("select id from ledger_accounts where kind = 'omnibus_bank'"),
        ]
        sql = "select ledger_post($1, 'deposit', $2, 'f', $3, $4, $5, '{}')"
        await self.books.call(sql, uuid7(), str(uuid7()), NOW, legs, [amount, -amount])
        client.settled += amount
        return True

    async def holds(self) -> None:
        """Everything that must always hold."""
        proof = await self.books.check()
        rows = await self.books.call(
            "select account_id, posted, receivable, payable, pending_out, overdrawn from ledger_accounts "
            "where kind = 'client_cash'"
        )
        for row in rows:
            client = self.clients[row["account_id"]]
            days = client.days
            assert row["posted"] == client.settled >= 0
            assert row["receivable"] == sum(day.receivable for day in days)
            assert row["payable"] == sum(day.payable for day in days)
            assert row["pending_out"] == sum(client.held.values()) <= client.traded
            assert row["overdrawn"] == 0
            units = "select ledger_securities($1, $2)"
            assert await self.books.value(units, row["account_id"], self.instrument) == client.units
        assert proof["USD"].charges == sum(client.charges for client in self.clients.values())
        if "XXX" in proof:
            assert proof["XXX"].client_liabilities == proof["XXX"].omnibus_bank
        async with self.books.tx() as tx:
            assert all(row.segregated for row in await segregation(tx))


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens_the_books_are_those_of_the_model(database: Database, seed: int) -> None:
    books = await make_tenant(database)
    accounts = [await books.open(OPENING) for _ in range(ACCOUNTS)]
    machine = Machine(books, accounts, await books.instrument(), seed)
    for number in range(STEPS):
        await machine.step()
        if number % 10 == 9:
            await machine.holds()
    await machine.holds()
    assert all(machine.done[name] for name in ("hold", "buy", "sell", "settle", "withdraw", "deposit")), machine.done
