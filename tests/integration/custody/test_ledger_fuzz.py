"""Random operations from several connections at once, against a model; then the ledger proves itself."""

import asyncio
import random
from collections import Counter
from uuid import UUID

import asyncpg
import pytest

from app.custody.ledger.repository import ledger_error
from app.kernel.ids import uuid7
from tests.integration.custody.conftest import NOW, Books

pytestmark = pytest.mark.asyncio
ACCOUNTS, WORKERS, STEPS, OPENING = 5, 8, 60, 5_000
EXPECTED = {"insufficient_funds", "idempotency_key_reused", "ledger_unbalanced", "invalid_posting"}


class Model:
    """What must be posted if every operation that succeeded counted once."""

    def __init__(self, accounts: list[UUID]) -> None:
        self.posted = dict.fromkeys(accounts, OPENING)
        self.orders: list[tuple[UUID, UUID]] = []
        self.fills: list[tuple[UUID, UUID, int, int]] = []
        self.seen: Counter[str] = Counter()


async def step(books: Books, chance: random.Random, model: Model, bank: UUID, cash: dict[UUID, UUID]) -> None:
    account = chance.choice(list(model.posted))
    match chance.choice(["hold", "hold", "void", "fill", "fill", "fill", "again", "post", "skewed"]):
        case "hold":
            order = uuid7()
            await books.hold(order, account, chance.randint(1, 3_000))
            model.orders.append((order, account))
        case "void" if model.orders:
            await books.void(chance.choice(model.orders)[0])
        case "fill" if model.orders:
            order, account = chance.choice(model.orders)
            fill, gross, charges = uuid7(), chance.randint(-2_000, 2_000), chance.randint(0, 20)
            await books.settle(
                account, gross, charges, fill=fill, order=order, release=chance.choice([None, 0, 100, 2_000])
            )
            model.posted[account] += gross - charges
            model.fills.append((fill, account, gross, charges))
        case "again" if model.fills:
            fill, account, gross, charges = chance.choice(model.fills)
            await books.settle(account, gross, charges + chance.choice([0, 1]), fill=fill)
        case "post" | "skewed" as kind:
            amount = chance.randint(-1_500, 1_500)
            legs = [cash[account], bank] if kind == "post" else [cash[account], cash[account]]
            sql = "select ledger_post($1, $2, $3, 'f', $4, $5, $6, '{}')"
            what = "deposit" if amount > 0 else "withdrawal"
            await books.call(sql, uuid7(), what, str(uuid7()), NOW, legs, [amount, -amount])
            model.posted[account] += amount


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_any_mixture_of_operations_leaves_a_ledger_that_balances(books: Books, seed: int) -> None:
    accounts = [await books.open(OPENING) for _ in range(ACCOUNTS)]
    bank = await books.value("select id from ledger_accounts where kind = 'omnibus_bank'")
    rows = await books.call("select id, account_id from ledger_accounts where kind = 'client_cash'")
    cash = {row["account_id"]: row["id"] for row in rows}
    model = Model(accounts)

    async def work(number: int) -> None:
        chance = random.Random(f"{seed}:{number}")
        for _ in range(STEPS):
            try:
                await step(books, chance, model, bank, cash)
            except asyncpg.PostgresError as error:
                meant = ledger_error(error)
                assert meant is not None and meant.code in EXPECTED, error
                model.seen[meant.code] += 1

    await asyncio.gather(*(work(number) for number in range(WORKERS)))
    assert len(model.fills) > 20 and model.seen["insufficient_funds"] > 5
    posted = await books.call(
        "select account_id, posted + receivable - payable as posted from ledger_accounts where kind = 'client_cash'"
    )
    assert {row["account_id"]: row["posted"] for row in posted} == model.posted
    proof = (await books.check())["USD"]
    assert proof.client_liabilities == sum(model.posted.values())
