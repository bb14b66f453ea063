"""However fast a replay runs, it waits at the cut-off: intraday positions are closed within their session."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.infra.work.runner import drain
from app.infra.work.tables import shard_of
from app.kernel.orders import Product, Side
from app.market.data.service import import_bars, run_replay
from app.trading.orders.service import handlers
from app.trading.orders.service.calendar import plan, run_feed
from app.trading.orders.service.matching import run_matcher
from tests.integration.trading.conftest import AT, Venue
from workers.settled import WorkSettled

OPEN, CUT_OFF, CLOSE = (datetime(2003, 1, 3, *at, tzinfo=UTC) for at in ((14, 30), (20, 50), (21, 0)))
FIVE_MINUTES = timedelta(minutes=5)


async def _bars(venue: Venue, folder: Path) -> None:
    """Two sessions of bars of five minutes, by their closes, at prices that say which bar it is."""
    days = [day + n * FIVE_MINUTES for day in (OPEN, OPEN + timedelta(days=3)) for n in range(1, 79)]
    lines = [f"{at:%Y-%m-%dT%H:%M:%SZ},{20 + n},{20 + n},{20 + n},{20 + n},1000" for n, at in enumerate(days)]
    file = folder / "bars.csv"
    file.write_text("\n".join(["time,open,high,low,close,volume", *lines]) + "\n")
    settings = venue.app.settings
    await import_bars(
        venue.app.database.reference, settings.data_dir, file, symbol="AAPL", venue="XNAS", interval="5m", now=AT
    )


async def _replayed(venue: Venue) -> None:
    """All bars, as fast as worker, matcher and calendar let it."""
    app, stop = venue.app, asyncio.Event()

    async def work() -> None:
        while not stop.is_set():
            await drain(
                app.database.dispatch, handlers(venue.desk()), "execution", shard_of(venue.tenant_id), holder="r"
            )
            await asyncio.sleep(0.001)

    async def look_at_the_calendar() -> None:
        while not stop.is_set():
            at = await app.database.reference.fetchval("select market_at from feed_state where feed = $1", venue.feed)
            await run_feed(app, venue.feed, at)
            await asyncio.sleep(0.3)

    tasks = [work(), look_at_the_calendar(), run_matcher(app, venue.feed, stop=stop)]
    running = [asyncio.create_task(task) for task in tasks]
    settled = WorkSettled(app.database.dispatch)
    replay = run_replay(
        app.database.reference, app.stream, app.settings.data_dir, settled=settled, stop=stop, feed=venue.feed,
        interval="5m", until=OPEN + timedelta(days=4), instruments=[venue.instrument_id],
    )  # fmt: skip
    running.append(asyncio.create_task(replay))
    asked = "select status from feed_state where feed = $1"
    try:
        while await app.database.reference.fetchval(asked, venue.feed) != "finished":
            done, _ = await asyncio.wait(running, timeout=0.05, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
    finally:
        stop.set()
        await asyncio.gather(*running, return_exceptions=True)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("side", Side)
async def test_the_position_is_closed_by_the_first_bar_after_the_cut_off(
    venue: Venue, tmp_path: Path, side: Side
) -> None:
    await _bars(venue, tmp_path)
    await venue.forget_others()
    await plan(venue.app, venue.feed, AT)
    await venue.order(side=side, product=Product.INTRADAY)
    await _replayed(venue)
    fills = await venue.rows("select side, occurred_at as at, price / 10000 as price from fills order by occurred_at")
    assert [row["side"] for row in fills] == [side.value, next(other for other in Side if other is not side).value]
    assert [row["at"] for row in fills] == [OPEN, CUT_OFF]
    assert [row["price"] for row in fills] == [20, 20 + (CUT_OFF - OPEN) // FIVE_MINUTES]
    await venue.is_sound()
