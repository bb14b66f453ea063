"""Money that a client brings in or takes out is neither profit nor loss, whatever a day or a peak is measured from."""

from decimal import Decimal
from random import Random
from uuid import uuid4

import asyncpg
import pytest

from app.custody.ledger.domain import TransactionKind, reversal_entries, withdrawal_entries
from app.custody.ledger.service import check, fund, hold_settled, pay_out_held, post, withdraw
from app.kernel.money import Money
from app.kernel.orders import OrderStatus
from app.trading.orders.service import PlacedOrder
from app.trading.risk.service import TENANT, set_limit
from tests.integration.trading.conftest import AT, PRICE, Venue
from tests.integration.trading.test_risk_figures import denied_by, holding, limited, moved


async def flows(venue: Venue, cents: int) -> None:
    """So much comes in; below zero: leaves."""
    async with venue.app.database.tx(venue.tenant_id) as tx:
        go = fund if cents > 0 else withdraw
        await go(tx, venue.account_id, Money(abs(cents), "USD"), idempotency_key=uuid4().hex, effective_at=AT)


def figure(placed: PlacedOrder, rule: str) -> Decimal:
    return next(Decimal(one.value) for one in placed.findings if one.rule == rule)


async def test_a_deposit_hides_no_loss_and_a_withdrawal_is_none(venue: Venue) -> None:
    await holding(venue, 100)
    await limited(venue, "max_daily_loss", limit="150.00")
    before = figure(await venue.order(quantity=1), "max_daily_loss")  # the charges
    await moved(venue, PRICE * 9 // 10)  # less 200.00
    lost = await venue.order(quantity=1)
    assert (denied_by(lost), figure(lost, "max_daily_loss")) == (["max_daily_loss"], before + 200)
    await flows(venue, 300_000)
    assert figure(await venue.order(quantity=1), "max_daily_loss") == before + 200
    await moved(venue, PRICE)
    await flows(venue, -700_000)
    assert figure(await venue.order(quantity=1), "max_daily_loss") == before


async def test_a_deposit_is_no_days_profit(venue: Venue) -> None:
    await holding(venue, 100)
    await limited(venue, "profit_lock", limit="150.00")
    await flows(venue, 500_000)
    assert denied_by(await venue.order(quantity=1)) == []
    await moved(venue, PRICE * 11 // 10)
    assert denied_by(await venue.order(quantity=1)) == ["profit_lock"]
    await flows(venue, -500_000)
    assert denied_by(await venue.order(quantity=1)) == ["profit_lock"]


@pytest.mark.parametrize("cents", [400_000, -700_000])
async def test_a_drawdown_is_of_what_the_money_that_stayed_has_lost(venue: Venue, cents: int) -> None:
    await holding(venue, 100)
    await limited(venue, "max_drawdown", limit_bps=9_000)
    await venue.order(quantity=1)  # the highest: 10,000.00, less charges
    await moved(venue, PRICE * 8 // 10)
    before = figure(await venue.order(quantity=1), "max_drawdown")
    assert Decimal("4.00") <= before <= Decimal("4.01")
    await flows(venue, cents)
    assert abs(figure(await venue.order(quantity=1), "max_drawdown") - before) <= Decimal("0.01")
    await flows(venue, cents // 10)
    assert abs(figure(await venue.order(quantity=1), "max_drawdown") - before) <= Decimal("0.02")
    await moved(venue, PRICE)  # the loss is won back: it was of all that was there
    back = figure(await venue.order(quantity=1), "max_drawdown")
    assert back == 0 if cents < 0 else Decimal("1.0") < back < Decimal("1.3")


async def test_after_a_withdrawal_the_peak_is_noted_below_the_days_highest(venue: Venue) -> None:
    """What is taken out lowers the day's highest by its amount and the peak by its share: a new peak may be no new
    highest of the day."""
    await holding(venue, 100)
    await limited(venue, "max_drawdown", limit_bps=9_000)
    await moved(venue, PRICE * 14 // 10)
    await venue.order(quantity=1)  # the highest: 10,800.00, less charges
    await moved(venue, PRICE)
    await flows(venue, -500_000)  # of 10,000.00: the peak is 5,400.00, the day's highest 5,800.00
    await venue.order(quantity=1)
    await moved(venue, PRICE * 135 // 100)
    await venue.order(quantity=1)  # 5,700.00
    await moved(venue, PRICE)
    fallen = figure(await venue.order(quantity=1), "max_drawdown")
    assert Decimal("12.0") < fallen < Decimal("13.5")  # some 700.00 of 5,700.00, not 400.00 of 5,400.00


async def test_what_is_undone_and_what_is_paid_from_a_hold_are_flows_too(venue: Venue) -> None:
    await holding(venue, 100)
    await limited(venue, "max_daily_loss", limit="150.00")
    before = figure(await venue.order(quantity=1), "max_daily_loss")
    amount, hold = Money(250_000, "USD"), uuid4()
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await hold_settled(tx, hold, venue.account_id, amount)
    async with venue.app.database.tx(venue.tenant_id) as tx:
        paid = await pay_out_held(
            tx, hold, venue.account_id, amount, idempotency_key="out", effective_at=AT, details={}
        )
    assert figure(await venue.order(quantity=1), "max_daily_loss") == before
    legs = reversal_entries(withdrawal_entries(venue.account_id, amount))
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await post(tx, TransactionKind.REVERSAL, legs, idempotency_key=f"reversal:{paid}", effective_at=AT)
    assert figure(await venue.order(quantity=1), "max_daily_loss") == before
    async with venue.app.database.tx(venue.tenant_id) as tx:
        assert all(not row.problems for row in await check(tx))
    told = await venue.rows("select kind from ledger_statement(:id)", id=venue.account_id)  # what performance is told
    assert [row["kind"] for row in told if row["kind"] != "fill"] == ["funding", "withdrawal", "transfer"]


async def test_the_ledgers_proof_sees_flows_that_are_wrong(venue: Venue, database_urls: dict[str, str]) -> None:
    owner = await asyncpg.connect(database_urls["admin"].rpartition("/")[0] + "/mandi")
    wrong = "update ledger_accounts set flows = flows + $2 where account_id = $1 and kind = 'client_cash'"
    try:
        await owner.execute(wrong, venue.account_id, 1)
        async with venue.app.database.tx(venue.tenant_id) as tx:
            assert [row.problems for row in await check(tx) if row.problems] == [{"balance_mismatches": 1}]
        await owner.execute(wrong, venue.account_id, -1)
    finally:
        await owner.close()


@pytest.mark.parametrize("seed", range(4))
async def test_the_days_figures_are_what_prices_did_whatever_came_and_went(venue: Venue, seed: int) -> None:
    chance, price = Random(seed), PRICE
    await holding(venue, 100)
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await set_limit(tx, TENANT, "max_daily_loss", {"limit": "99999999.00"})
        await set_limit(tx, TENANT, "profit_lock", {"limit": "99999999.00"})
    first = figure(await venue.order(quantity=1), "max_daily_loss")
    high = 0
    for _ in range(12):
        if chance.random() < 0.6:
            await flows(venue, chance.choice((-1, 1)) * chance.randint(1, 60_000))
        else:
            price = PRICE + chance.randint(-1_000, 1_000) * 100
            await moved(venue, price)
        placed = await venue.order(quantity=1)
        won = (price - PRICE) // 100 * 100  # of a hundred, in cents
        high = max(high, won - int(first * 100))
        assert placed.status is OrderStatus.ACCEPTED
        assert figure(placed, "max_daily_loss") == max(first - Decimal(won) / 100, 0)
        assert figure(placed, "profit_lock") == Decimal(high) / 100
