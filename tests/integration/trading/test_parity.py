"""One definition, two drivers: the paper path gives the backtest's fills on the same bars, to the cent."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from app.bootstrap import App, open_brokers
from app.custody.accounts.domain import NewAccount
from app.custody.accounts.service import create_account
from app.custody.ledger.service import Books
from app.engine.bars import Split, align, day_number
from app.engine.columns import Intrabar
from app.engine.fills import SlippageModel
from app.engine.instruments import Instrument
from app.engine.program import compile_program
from app.engine.schedule import schedule_named
from app.engine.simulation import backtest
from app.engine.terms import Terms
from app.infra.work.runner import drain
from app.infra.work.tables import shard_of
from app.kernel.money import Money
from app.market.data.service import load_bars, run_replay
from app.market.instruments.service import find_instrument, splits_of
from app.platform.tenancy.service import create_tenant
from app.trading.orders.service import handlers, open_desk
from app.trading.orders.service.matching import run_matcher
from app.trading.risk.service import TENANT, set_limit
from app.trading.strategies.service import create_strategy, deploy, run_due
from app.trading.strategies.service.definitions import program_document
from tests.factories.reference import seeded
from workers.settled import WorkSettled

START, END = datetime(2003, 1, 2, 21, tzinfo=UTC), datetime(2003, 7, 1, tzinfo=UTC)
CASH = 100_000_00
SLIPPAGE = 5
LISTINGS = (("AAPL", "XNAS"), ("IBM", "XNYS"), ("MSFT", "XNAS"))  # MSFT split on 2003-02-18
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def _paper(app: App, template: str, instruments: list[UUID]) -> tuple[UUID, UUID, dict[str, Any]]:
    """Replay the tape through worker, matcher and feed code until `END`."""
    feed, tenant_id = f"parity-{uuid4().hex[:8]}", await create_tenant(app.database, slug="parity", name="P")
    async with app.database.tx(tenant_id) as tx:
        asked = NewAccount(
            name="p", currency="USD", opening_balance=Money(CASH, "USD"), feed=feed, slippage_bps=SLIPPAGE,
            charge_schedule="us_equity",
        )  # fmt: skip
        account = await create_account(tx, asked, books=Books(), now=START)
        await set_limit(tx, TENANT, "max_daily_loss", {"limit": "99999999"})
        strategy = await create_strategy(tx, name="p", template=template, parameters={}, now=START, n_instruments=3)
        await deploy(tx, strategy_id=strategy.id, account_id=account.id, instruments=instruments, now=START)
        document = program_document(strategy, 3)
    stop, shard = asyncio.Event(), shard_of(tenant_id)

    async def work() -> None:
        while not stop.is_set():
            await run_due(app, shard)
            await drain(
                app.database.dispatch, handlers(open_desk(app, open_brokers(app))), "execution", shard, holder="parity"
            )
            await asyncio.sleep(0.001)

    helpers = [asyncio.create_task(work()), asyncio.create_task(run_matcher(app, feed, stop=stop))]
    replay = asyncio.create_task(
        run_replay(
            app.database.reference, app.stream, app.settings.data_dir, settled=WorkSettled(app.database.dispatch),
            stop=stop, feed=feed, start=START + timedelta(hours=1), until=END, instruments=instruments,
        )
    )  # fmt: skip
    try:
        while (
            await app.database.reference.fetchval("select status from feed_state where feed = $1", feed) != "finished"
        ):
            done, _ = await asyncio.wait({replay, *helpers}, timeout=0.05, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
    finally:
        stop.set()
        await asyncio.gather(replay, *helpers, return_exceptions=True)
    return tenant_id, account.id, document


async def _history(app: App, instruments: list[UUID]) -> tuple[Any, list[Split]]:
    series, splits = [], []
    for instrument in instruments:
        found = await load_bars(app.database.pool, app.settings.data_dir, instrument, "1d", None, END)
        days = found.at_us // 86_400_000_000 + day_number(EPOCH.date())
        columns = {name: getattr(found, name) for name in ("open", "high", "low", "close", "volume")}
        series.append({"times": found.at_us, "days": days, **columns})
    bars = align(series)
    for slot, instrument in enumerate(instruments):
        for split in await splits_of(app.database.pool, instrument):
            row = int(bars.times.searchsorted((split.effective_at - EPOCH) // timedelta(microseconds=1)))
            if row < bars.rows:
                splits.append(Split(row=row, slot=slot, numerator=split.numerator, denominator=split.denominator))
    return bars, splits


@pytest.mark.timeout(180)
@pytest.mark.parametrize("template", ["momentum", "mean_reversion"])
async def test_paper_fills_are_the_backtests_fills(app: App, template: str) -> None:
    await seeded(app.database, app.settings)
    instruments = [(await find_instrument(app.database.pool, s, v, now=START)).id for s, v in LISTINGS]
    tenant_id, _, document = await _paper(app, template, instruments)
    async with app.database.tx(tenant_id) as tx:
        rows = await tx.execute(
            text("select instrument_id, side, quantity, price, charges_minor, occurred_at from fills")
        )
        paper = sorted(
            (r.occurred_at, instruments.index(r.instrument_id), r.side, r.quantity, r.price, r.charges_minor)
            for r in rows
        )
    bars, splits = await _history(app, instruments)
    first = int(bars.times.searchsorted((START - EPOCH) // timedelta(microseconds=1), side="right"))
    result = backtest(
        compile_program(document),
        bars,
        instruments=[Instrument(one, "USD", 4, tick=100, lot=1) for one in instruments],
        cash=CASH,
        schedule=schedule_named("us_equity"),
        slippage=SlippageModel(SLIPPAGE),
        terms=Terms(intrabar=Intrabar.PATH),  # the tape shows a bar's prices in this order
        events=splits,
        trade_from=first,
    )
    simulated = [
        (int(bars.days[f.row]), f.slot, f.side.value, f.quantity, f.price, f.charges) for f in result.fill_records()
    ]
    assert len(simulated) > 0
    assert [(day_number(at.date()), *rest) for at, *rest in paper] == sorted(simulated)
