"""Splits and dividends on what is held and on what rests."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

from app.custody.ledger.service import check
from app.kernel.orders import OrderType, Product, Validity
from app.trading.orders.service.matching import match_entries
from tests.integration.trading.conftest import AT, PRICE, Venue

POSTED = "posted + receivable - payable as posted"


def action(venue: Venue, kind: str, **figures: int) -> dict[str, str]:
    return {
        "type": "action",
        "kind": kind,
        "instrument_id": str(venue.instrument_id),
        "action_id": str(uuid4()),
        "at": (AT + timedelta(days=3)).isoformat(),
        **{name: str(value) for name, value in figures.items()},
    }


async def happens(venue: Venue, entry: dict[str, str], times: int = 1) -> None:
    last = int(venue.sent[-1][0].split("-")[0])
    for _ in range(times):
        await match_entries(venue.app, venue.feed, [(f"{last + 1}-0", entry)], after=venue.sent[-1][0])


async def _held(venue: Venue) -> dict[str, Any]:
    return (await venue.rows("select quantity, cost_minor, version from positions"))[0]


async def _cash(venue: Venue) -> int:
    return int((await venue.rows(f"select {POSTED} from ledger_accounts where kind = 'client_cash'"))[0]["posted"])


async def _buy(venue: Venue, quantity: int) -> None:
    await venue.order(quantity=quantity)
    await venue.work()
    await venue.show(PRICE)


async def test_a_split_restates_the_position_once_and_keeps_its_cost(venue: Venue) -> None:
    await _buy(venue, 15)
    before, cash = await _held(venue), await _cash(venue)
    await happens(venue, action(venue, "split", numerator=2, denominator=1), times=2)
    after = await _held(venue)
    assert (after["quantity"], after["cost_minor"], await _cash(venue)) == (30, before["cost_minor"], cash)
    assert len(await venue.rows("select 1 from position_actions")) == 1


async def test_a_reverse_split_pays_the_fraction_in_cash(venue: Venue) -> None:
    await _buy(venue, 15)
    cash = await _cash(venue)
    await happens(venue, action(venue, "split", numerator=1, denominator=2), times=2)
    assert (await _held(venue))["quantity"] == 7
    assert await _cash(venue) > cash


async def test_a_split_lets_resting_orders_of_the_instrument_lapse(venue: Venue) -> None:
    await _buy(venue, 15)
    resting = await venue.order(order_type=OrderType.LIMIT, limit_price=PRICE - 1_000, validity=Validity.GTC)
    await venue.work()
    await happens(venue, action(venue, "split", numerator=2, denominator=1))
    assert await venue.status(resting.id) == "expired"


async def test_a_dividend_is_paid_once_on_what_is_held(venue: Venue) -> None:
    await _buy(venue, 15)
    before, cash = await _held(venue), await _cash(venue)
    await happens(venue, action(venue, "dividend", amount=2_500), times=3)
    assert await _cash(venue) == cash + 15 * 25
    assert await _held(venue) == before
    await venue.is_sound()


async def test_a_split_between_trade_and_settlement_keeps_securities_and_positions_the_same(venue: Venue) -> None:
    await _buy(venue, 15)
    await venue.settle(days=6)
    await venue.order(quantity=8)
    await venue.work()
    await venue.show(PRICE, days=7)
    await happens(venue, action(venue, "split", numerator=1, denominator=2), times=2)
    assert (await _held(venue))["quantity"] == 11
    assert await venue.securities() == {"settled": 7, "waiting": 4}
    await venue.settle(days=12)
    assert await venue.securities() == {"settled": 11, "waiting": 0}
    async with venue.app.database.tx(venue.tenant_id) as tx:
        assert all(not row.problems for row in await check(tx))


async def test_a_dividend_counts_what_is_not_yet_settled(venue: Venue) -> None:
    await _buy(venue, 15)
    assert await venue.securities() == {"settled": 0, "waiting": 15}
    cash = await _cash(venue)
    await happens(venue, action(venue, "dividend", amount=2_500))
    assert await _cash(venue) == cash + 15 * 25


async def test_an_action_that_is_told_again_leaves_what_was_bought_since(venue: Venue) -> None:
    split = action(venue, "split", numerator=2, denominator=1)
    dividend = action(venue, "dividend", amount=2_500)
    await venue.show(PRICE)
    for entry in (split, dividend):
        await happens(venue, entry)
    await _buy(venue, 10)
    resting = await venue.order(
        quantity=1, order_type=OrderType.LIMIT, limit_price=PRICE - 1_000, validity=Validity.GTC
    )
    await venue.work()
    cash = await _cash(venue)
    for entry in (split, dividend):
        await happens(venue, entry)
    assert ((await _held(venue))["quantity"], await _cash(venue)) == (10, cash)
    assert await venue.status(resting.id) == "open"


async def test_a_dividend_comes_to_the_bank_when_the_days_trades_settle(venue: Venue) -> None:
    async def pool() -> dict[str, int]:
        kinds = "kind in ('omnibus_bank', 'clearing')"
        rows = await venue.rows(
            f"select kind, sum(posted)::bigint as posted from ledger_accounts where {kinds} group by 1"
        )
        return {row["kind"]: row["posted"] for row in rows}

    await _buy(venue, 15)
    await venue.settle(days=6)
    bank = (await pool())["omnibus_bank"]
    await happens(venue, action(venue, "dividend", amount=2_500), times=2)
    assert await pool() == {"clearing": -15 * 25, "omnibus_bank": bank}
    await venue.settle(days=12)
    assert await pool() == {"clearing": 0, "omnibus_bank": bank - 15 * 25}
    await venue.is_sound()


async def test_a_split_that_leaves_nothing_of_an_intraday_position_frees_its_margin(venue: Venue) -> None:
    await venue.order(quantity=3, product=Product.INTRADAY)
    await venue.work()
    await venue.show(PRICE)
    books = "select margin, financed from ledger_accounts where kind = 'client_cash'"
    assert await venue.rows(books) == [{"margin": 3_000, "financed": 6_000}]
    await happens(venue, action(venue, "split", numerator=1, denominator=10), times=2)
    assert (await _held(venue))["quantity"] == 0
    assert await venue.rows(books) == [{"margin": 0, "financed": 0}]
    async with venue.app.database.tx(venue.tenant_id) as tx:
        assert all(not row.problems for row in await check(tx))
