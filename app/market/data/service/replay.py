"""Replays stored bars as a market: its own clock, a Redis stream, and a barrier at every watermark (rule 18).

PostgreSQL is the truth, the stream is losable. One step, from one watermark to the next:

1. prices, bars and session closes of the step are published; the feed waits until the matcher has reached them
   (corporate actions are published and waited for before the first price that they restate);
2. the last prices and the new watermark are committed to `feed_state`;
3. the watermark is published, and the feed waits until all that it set off is settled.

So nobody can see a watermark, in the stream or in the table, before the prices it completes have been matched: an
order decided on bar T cannot meet a price of T. After a crash before 2 the step is published again, entry for entry
with the same `at`, and no watermark of it had been seen; after a crash behind 2 only the watermark is published
again. Consumers therefore treat a repeated `at` of an instrument, an `action_id` and a watermark as already done.
A stream that vanished under the feed is filled again with the batch in question, under ids that are greater than
any before; while Redis is away the feed waits for it. Every other failure ends the body; whoever leads starts it
again and it resumes from `feed_state`.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import structlog
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from app.infra.redis import REDIS_ERRORS
from app.infra.waiting import set_within
from app.market.data import repository
from app.market.data.domain import interval_length
from app.market.data.ports import Settled
from app.market.data.service.bars import load_bars
from app.market.data.service.tape import Entry, Tape, TapeAction, TapeSeries, build_step, watermark_entry
from app.market.instruments.ports import Reader
from app.market.instruments.service import corporate_actions, trading_sessions

log = structlog.get_logger(__name__)
STREAM_MAXLEN = 100_000
_POLL_FAST_S, _POLL_SLOW_S, _FAST_POLLS = 0.003, 0.02, 30
_POLLS_PER_CHECK = 25
_RETRY_S = 0.2


@dataclass(frozen=True, slots=True)
class FeedView:
    """Where a feed is. `watermark`: bars up to it are complete; `market_at`: its clock; `speed` in bars a second."""

    feed: str
    interval: str
    market_at: datetime
    watermark: datetime
    bars_published: int
    last_stream_id: str
    speed: float
    status: str
    updated_at: datetime


def stream_key(feed: str) -> str:
    """The Redis stream of a feed."""
    return f"feed:{feed}"


async def read_feed_state(reader: Reader, feed: str) -> FeedView | None:
    """The feed's state, or None when it never ran."""
    row = await repository.feed_state(reader, feed)
    return None if row is None else FeedView(**dict(row))


async def market_time(reader: Reader, feed: str) -> datetime | None:
    """The feed's own clock, aware UTC; None when it never ran."""
    state = await read_feed_state(reader, feed)
    return None if state is None else state.market_at


async def run_replay(
    reference: asyncpg.Pool,
    stream: Redis,
    data_dir: Path,
    *,
    settled: Settled,
    stop: asyncio.Event,
    feed: str = "replay",
    interval: str = "1d",
    speed: float = 0.0,
    start: datetime | None = None,
    until: datetime | None = None,
    instruments: Sequence[UUID] | None = None,
) -> None:
    """Replay until `stop` is set; the body of the leader of `feed`. At the tape's end it marks the feed `finished`.

    `speed`: watermarks a second, 0 for as fast as the barrier allows. A new feed's clock begins at the last bar that
    closed before `start` (before the first bar, by default): what lies before is history. `until` ends the tape early.
    `instruments` limits it; every stored series of `interval` otherwise. Series are read once, at the start: what is
    imported meanwhile joins at the next start.
    """
    tape = await load_tape(reference, data_dir, interval, instruments=instruments)
    replay = _Replay(reference, stream, feed, interval, settled, stop)
    if not tape.times:
        log.warning("replay.no_bars", feed=feed, interval=interval)
        await stop.wait()
        return
    after = await replay.resume(tape, start=start, speed=speed)
    due = asyncio.get_running_loop().time()
    for at in (moment for moment in tape.times if moment > after and (until is None or moment <= until)):
        if not await replay.step(tape, after=after, at=at):
            return
        after = at
        due = await _pace(stop, due, speed)
        if stop.is_set():
            return
    await repository.set_status(reference, feed, "finished")
    log.info("replay.finished", feed=feed, watermark=after.isoformat())
    await stop.wait()


async def load_tape(
    reader: asyncpg.Pool, data_dir: Path, interval: str, *, instruments: Sequence[UUID] | None = None
) -> Tape:
    """The stored series of `interval`, by symbol, with their sessions and corporate actions."""
    series: list[TapeSeries] = []
    for row in await repository.all_series(reader, interval):
        instrument_id = row["instrument_id"]
        if instruments is not None and instrument_id not in instruments:
            continue
        bars = await load_bars(reader, data_dir, instrument_id, interval)
        first, last = (repository.moment(bars, index) for index in (0, -1))
        sessions = await trading_sessions(reader, row["venue"], row["segment"], start=first, end=last)
        actions = [
            TapeAction(a["id"], a["effective_at"], a["ex_date"], a["numerator"], a["denominator"], a["amount"])
            for a in await corporate_actions(reader, instrument_id)
        ]
        by_close = {session.closes_at: session for session in sessions}
        series.append(TapeSeries(instrument_id, row["venue"], bars, actions, by_close))
    return Tape.of(series)


class _Replay:
    """One leader's run: what was last published, and the waits."""

    def __init__(
        self, reference: asyncpg.Pool, stream: Redis, feed: str, interval: str, settled: Settled, stop: asyncio.Event
    ) -> None:
        self._reference = reference
        self._stream = stream
        self._feed = feed
        self._interval = interval
        self._settled = settled
        self._stop = stop
        self._last_id = "0-0"
        self._length: timedelta = interval_length(interval)
        self._bars = 0

    async def resume(self, tape: Tape, *, start: datetime | None, speed: float) -> datetime:
        """The watermark to go on from; a feed with one publishes it again and waits until it is settled."""
        state = await read_feed_state(self._reference, self._feed)
        if state is None:
            await self._begin(tape, start=start, speed=speed)
            state = await read_feed_state(self._reference, self._feed)
        else:
            await repository.open_feed(self._reference, self._feed, self._interval, at=state.watermark, speed=speed)
        if state is None:
            raise RuntimeError(f"feed {self._feed} lost its state while it was opened")
        self._last_id, self._bars = state.last_stream_id, state.bars_published
        await self._publish_and_settle([watermark_entry(self._interval, state.watermark)], state.watermark)
        return state.watermark

    async def _begin(self, tape: Tape, *, start: datetime | None, speed: float) -> None:
        """A new feed: its clock at the last bar before `start`, that bar's closes as the last prices."""
        before = [at for at in tape.times if start is not None and at < start]
        begin = before[-1] if before else tape.times[0] - timedelta(days=1)
        known = [repository.last_close(one.instrument_id, one.bars, begin) for one in tape.series]
        prices = [price for price in known if price is not None]
        await repository.open_feed(self._reference, self._feed, self._interval, at=begin, speed=speed)
        await repository.complete_bar(self._reference, self._feed, at=begin, bars=0, stream_id="0-0", prices=prices)

    async def step(self, tape: Tape, *, after: datetime, at: datetime) -> bool:
        """From the watermark `after` to `at`. False when stopped in between."""
        step = build_step(tape, after=after, at=at, interval=self._interval, length=self._length)
        await repository.set_market_time(self._reference, self._feed, step.opens_at)
        for batch, actions in zip(step.batches, step.actions, strict=True):
            for instrument_id, action in actions:
                if action.numerator is None or action.denominator is None:
                    continue
                await repository.split_last_price(
                    self._reference,
                    self._feed,
                    instrument_id,
                    action.numerator,
                    action.denominator,
                    at=action.effective_at,
                    day=action.ex_date,
                )
            if batch and not await self._publish_and_settle(batch, after):
                return False
        self._bars += 1
        await repository.complete_bar(
            self._reference, self._feed, at=at, bars=self._bars, stream_id=self._last_id, prices=step.closes
        )
        return await self._publish_and_settle([watermark_entry(self._interval, at)], at)

    async def _publish_and_settle(self, batch: list[Entry], watermark: datetime) -> bool:
        """Publish a batch and wait until it is settled; publish it again when the stream vanishes meanwhile."""
        await self._publish(batch)
        polls = 0
        while not self._stop.is_set():
            if await self._settled(self._feed, watermark, self._last_id):
                return True
            polls += 1
            if polls % _POLLS_PER_CHECK == 0 and not await self._stream_holds_all():
                log.warning("replay.stream_lost", feed=self._feed, last_stream_id=self._last_id)
                await self._publish(batch)
            await set_within(self._stop, _POLL_FAST_S if polls < _FAST_POLLS else _POLL_SLOW_S)
        return False

    async def _publish(self, batch: list[Entry]) -> None:
        """Append the batch, all of it or nothing; while Redis is away, try again until `stop`."""
        while not self._stop.is_set():
            try:
                self._last_id = await self._append(batch)
                return
            except REDIS_ERRORS as error:
                log.warning("replay.no_stream", feed=self._feed, error=repr(error))
                await set_within(self._stop, _RETRY_S)

    async def _append(self, batch: list[Entry]) -> str:
        """The id of the batch's last entry. Ids are greater than any that consumers have seen, even on a new stream."""
        first_id = "*"
        if _parts(await self._stream_tail()) < _parts(self._last_id):
            seconds, microseconds = await self._stream.time()
            first_id = f"{max(seconds * 1000 + microseconds // 1000, _parts(self._last_id)[0] + 1)}-0"
        key = stream_key(self._feed)
        async with self._stream.pipeline(transaction=True) as pipeline:
            for index, entry in enumerate(batch):
                pipeline.xadd(
                    key, dict[Any, Any](entry), id="*" if index else first_id, maxlen=STREAM_MAXLEN, approximate=True
                )
            ids = await pipeline.execute()
        return str(ids[-1])

    async def _stream_holds_all(self) -> bool:
        try:
            return _parts(await self._stream_tail()) >= _parts(self._last_id)
        except REDIS_ERRORS:
            return False

    async def _stream_tail(self) -> str:
        try:
            info = await self._stream.xinfo_stream(stream_key(self._feed))
        except ResponseError:  # no such key
            return "0-0"
        return str(info["last-generated-id"])


def _parts(stream_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = stream_id.partition("-")
    return int(milliseconds), int(sequence or 0)


async def _pace(stop: asyncio.Event, due: float, speed: float) -> float:
    """Wait until the next bar is due; time lost to the barrier is not caught up."""
    if speed <= 0:
        await asyncio.sleep(0)
        return due
    now = asyncio.get_running_loop().time()
    due = max(now, due + 1 / speed)
    await set_within(stop, due - now)
    return due
