"""The replay feed against a real stream and database: order, barrier, crash and a stream that vanishes."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from app.infra.redis import REDIS_ERRORS, open_redis
from app.local.valkey import temporary_valkey
from app.market.data.service import read_feed_state, run_replay, stream_key
from app.market.instruments.service import find_instrument

pytestmark = pytest.mark.asyncio
START = datetime(2005, 2, 24, tzinfo=UTC)  # a Thursday; AAPL splits on Monday the 28th
UNTIL = datetime(2005, 3, 1, 23, tzinfo=UTC)
DAYS = [date(2005, 2, 23), date(2005, 2, 24), date(2005, 2, 25), date(2005, 2, 28), date(2005, 3, 1)]
HELD = 20
Entry = dict[str, str]


def parts(stream_id: str) -> tuple[int, ...]:
    return tuple(int(part) for part in stream_id.split("-"))


@dataclass
class Consumer:
    """A matcher in miniature: reads the stream, keeps a checkpoint, says whether it has caught up."""

    reference: asyncpg.Pool
    stream: Redis
    feed: str = field(default_factory=lambda: f"test-{uuid4()}")
    checkpoint: str = "0-0"
    seen: list[Entry] = field(default_factory=list)
    seen_at_watermark: list[tuple[str, datetime]] = field(default_factory=list)
    asked: list[datetime | None] = field(default_factory=list)
    hold: Callable[["Consumer"], bool] = lambda _: False
    held: int = 0

    async def settled(self, feed: str, watermark: datetime | None, last_stream_id: str) -> bool:
        assert feed == self.feed
        self.asked.append(watermark)
        if self.hold(self):
            self.held += 1
            return False
        answer: Any = await self.stream.xread({stream_key(feed): self.checkpoint})
        for _, entries in answer or []:
            for stream_id, entry in entries:
                assert parts(stream_id) > parts(self.checkpoint)
                self.checkpoint = stream_id
                self.seen.append(entry)
                if entry["type"] in ("price", "watermark"):
                    state = await read_feed_state(self.reference, feed)
                    assert state is not None
                    self.seen_at_watermark.append((entry["type"], state.watermark))
        return parts(self.checkpoint) >= parts(last_stream_id)

    def ats(self, kind: str) -> list[datetime]:
        return [datetime.fromisoformat(e["at"]) for e in self.seen if e["type"] == kind]


@dataclass
class Tape:
    reference: asyncpg.Pool
    stream: Redis
    data_dir: Path
    instruments: list[UUID]

    async def play(self, consumer: Consumer, *, until: datetime = UNTIL, to_hold: bool = False) -> None:
        """Run the feed until it is finished or, `to_hold`, until the consumer has held it `HELD` times: it waits."""
        stop, enough = asyncio.Event(), consumer.held + HELD
        body = asyncio.create_task(
            run_replay(
                self.reference,
                self.stream,
                self.data_dir,
                settled=consumer.settled,
                stop=stop,
                feed=consumer.feed,
                start=START,
                until=until,
                instruments=self.instruments,
            )
        )
        try:
            async with asyncio.timeout(60):
                while not body.done():
                    state = await read_feed_state(self.reference, consumer.feed)
                    if state is not None and state.status == "finished":
                        break
                    if to_hold and consumer.held >= enough:
                        break
                    await asyncio.sleep(0.01)
        finally:
            stop.set()
            await body


@pytest_asyncio.fixture
async def consumer(reference: asyncpg.Pool, stream: Redis) -> Consumer:
    return Consumer(reference, stream)


@pytest_asyncio.fixture
async def tape(reference: asyncpg.Pool, stream: Redis, data_dir: Path) -> Tape:
    found = [await find_instrument(reference, s, v, now=START) for s, v in (("AAPL", "XNAS"), ("IBM", "XNYS"))]
    return Tape(reference, stream, data_dir, [i.id for i in found])


async def test_a_tape_is_played_in_order_to_its_end(tape: Tape, consumer: Consumer) -> None:
    await tape.play(consumer)
    assert [at.date() for at in consumer.ats("watermark")] == DAYS
    assert [at.date() for at in consumer.ats("bar")] == [day for day in DAYS[1:] for _ in range(2)]
    assert [at.date() for at in consumer.ats("session_close")] == [day for day in DAYS[1:] for _ in range(2)]
    assert len(consumer.ats("price")) == 4 * 2 * 4
    ordered = [datetime.fromisoformat(e["at"]) for e in consumer.seen]
    assert ordered == sorted(ordered)
    state = await read_feed_state(tape.reference, consumer.feed)
    assert state is not None
    assert (state.status, state.bars_published, state.watermark) == ("finished", 4, state.market_at)
    assert state.watermark == datetime(2005, 3, 1, 21, tzinfo=UTC)


async def test_a_watermark_is_committed_after_its_prices_were_matched_and_before_it_is_told(
    tape: Tape, consumer: Consumer
) -> None:
    await tape.play(consumer)
    entries = [e for e in consumer.seen if e["type"] in ("price", "watermark")]
    for entry, (kind, committed) in zip(entries, consumer.seen_at_watermark, strict=True):
        at = datetime.fromisoformat(entry["at"])
        if kind == "price":
            assert committed.date() < at.date()
        else:
            assert committed == at


async def test_the_first_watermark_is_the_last_bar_of_the_history(tape: Tape, consumer: Consumer) -> None:
    consumer.hold = lambda _: True
    await tape.play(consumer, to_hold=True)
    state = await read_feed_state(tape.reference, consumer.feed)
    assert state is not None
    assert state.watermark == datetime(2005, 2, 23, 21, tzinfo=UTC)
    prices = await tape.reference.fetch("select price, session_date from last_prices where feed = $1", consumer.feed)
    assert {p["session_date"] for p in prices} == {date(2005, 2, 23)}
    assert len(prices) == 2


async def test_the_feed_waits_until_everybody_has_caught_up(tape: Tape, consumer: Consumer) -> None:
    consumer.hold = lambda c: len(c.ats("watermark")) == 2
    await tape.play(consumer, to_hold=True)
    state = await read_feed_state(tape.reference, consumer.feed)
    assert state is not None
    assert state.watermark.date() == DAYS[1]
    assert state.status == "running"
    consumer.hold = lambda _: False
    await tape.play(consumer)
    assert list(dict.fromkeys(at.date() for at in consumer.ats("watermark"))) == DAYS


async def test_a_split_is_applied_before_the_first_price_that_it_restates(tape: Tape, consumer: Consumer) -> None:
    await tape.play(consumer)
    kinds = [(e["type"], e["at"][:10]) for e in consumer.seen]
    action = kinds.index(("action", "2005-02-28"))
    assert action < kinds.index(("price", "2005-02-28"))
    assert kinds.count(("action", "2005-02-28")) == 1
    entry = consumer.seen[action]
    assert (entry["numerator"], entry["denominator"], entry["kind"]) == ("2", "1", "split")


async def test_the_last_price_is_restated_with_the_split_once(tape: Tape, consumer: Consumer) -> None:
    prices: list[int] = []

    def hold(c: Consumer) -> bool:
        return any(e["type"] == "action" for e in c.seen)

    consumer.hold = hold
    query = "select price from market_last_price($1, $2)"
    for _ in range(2):  # stopped at the barrier behind the action, then begun again there
        await tape.play(consumer, to_hold=True)
        prices.append(await tape.reference.fetchval(query, consumer.feed, tape.instruments[0]))
    assert prices == [444_950, 444_950]  # 88.99 halved, half up at four places
    clock = await tape.reference.fetchval("select market_clock($1)", consumer.feed)
    assert clock == datetime(2005, 2, 28, 14, 30, tzinfo=UTC)


@pytest.mark.parametrize("held_after", [0, 1, 5, 9, 10, 11, 21, 22, 23, 25])
async def test_a_feed_that_was_stopped_anywhere_resumes_without_loss(
    tape: Tape, consumer: Consumer, held_after: int
) -> None:
    whole = Consumer(tape.reference, tape.stream)
    await tape.play(whole)
    consumer.hold = lambda c: len(c.seen) >= held_after
    await tape.play(consumer, to_hold=True)
    consumer.hold = lambda _: False
    await tape.play(consumer)
    unique = list(dict.fromkeys(tuple(sorted(e.items())) for e in consumer.seen))
    assert unique == [tuple(sorted(e.items())) for e in whole.seen]


async def test_a_stream_that_vanished_is_filled_again(tape: Tape, consumer: Consumer) -> None:
    vanished = 0

    def hold(c: Consumer) -> bool:
        nonlocal vanished
        if len(c.ats("watermark")) == 2 and vanished == 0:
            vanished = len(c.asked)
        return bool(vanished) and len(c.asked) < vanished + 10

    consumer.hold = hold
    play = asyncio.create_task(tape.play(consumer))
    while not vanished:
        await asyncio.sleep(0.002)
    await tape.stream.delete(stream_key(consumer.feed))
    await play
    assert [at.date() for at in consumer.ats("watermark")] == DAYS
    assert list(dict.fromkeys(at.date() for at in consumer.ats("bar"))) == DAYS[1:]


async def test_a_killed_valkey_costs_nothing_but_time(reference: asyncpg.Pool, data_dir: Path, tape: Tape) -> None:
    with temporary_valkey() as server:
        stream = open_redis(server.url)
        consumer, other = Consumer(reference, stream), Tape(reference, stream, data_dir, tape.instruments)
        killed = False

        async def settled(feed: str, watermark: datetime | None, last_stream_id: str) -> bool:
            nonlocal killed
            if len(consumer.ats("watermark")) == 2 and not killed:
                killed = True
                assert server.pid is not None
                os.kill(server.pid, signal.SIGKILL)
                await asyncio.sleep(0.3)
                await asyncio.to_thread(server.start)
                return False
            with suppress(*REDIS_ERRORS):
                return await Consumer.settled(consumer, feed, watermark, last_stream_id)
            return False

        consumer.settled = settled  # type: ignore[method-assign]
        await other.play(consumer)
        await stream.aclose()
    assert killed
    assert [at.date() for at in consumer.ats("watermark")] == DAYS
    assert list(dict.fromkeys(at.date() for at in consumer.ats("bar"))) == DAYS[1:]


async def test_a_speed_of_zero_and_a_slow_one_publish_the_same_tape(tape: Tape, consumer: Consumer) -> None:
    await tape.play(consumer)
    slow = Consumer(tape.reference, tape.stream)
    stop = asyncio.Event()
    body = asyncio.create_task(
        run_replay(
            tape.reference,
            tape.stream,
            tape.data_dir,
            settled=slow.settled,
            stop=stop,
            feed=slow.feed,
            speed=50.0,
            start=START,
            until=UNTIL,
            instruments=tape.instruments,
        )
    )
    while len(slow.ats("watermark")) < len(DAYS):
        await asyncio.sleep(0.01)
    stop.set()
    await body
    assert slow.seen == consumer.seen
