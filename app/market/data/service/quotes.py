"""Decides what a quote is: the last price of an instrument on the feed, kept here once for all who watch it.

Prices come faster than people read. A watcher asks what has changed since he last asked, and is told the last price of
each instrument, never a backlog.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import structlog
from redis.asyncio import Redis

from app.infra.redis import REDIS_ERRORS
from app.infra.waiting import set_within
from app.kernel.ids import encode_id
from app.kernel.money import format_trimmed
from app.kernel.times import format_time
from app.market.data import repository
from app.market.data.service.replay import stream_key
from app.market.instruments.service import scales_of

BATCH = 1_000
BLOCK_MS = 500
LINGER_SECONDS = 0.05
"""Between two readings of the tape: a reading costs more than all that it brings, and nobody is told this often."""

RETRY_SECONDS = 1.0
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Last:
    number: int
    price: int
    at: str


class QuoteBoard:
    """The last prices of one feed. `run` must run; without the stream, what is stored is all there is."""

    def __init__(self, reader: asyncpg.Pool, stream: Redis, feed: str) -> None:
        self._reader, self._stream, self._feed = reader, stream, feed
        self._last: dict[UUID, _Last] = {}
        self._exponents: dict[UUID, int] = {}
        self._number = 0

    async def watch(self, instrument_ids: Collection[UUID]) -> tuple[int, list[dict[str, Any]], list[UUID]]:
        """A place to ask `changed` from, the present quotes, and the ids of no instrument."""
        scales = await scales_of(self._reader, list(instrument_ids))
        self._exponents.update({one: scale.price_exp for one, scale in scales.items()})
        for row in await repository.last_prices(self._reader, self._feed, list(scales)):
            stored = _Last(self._number, row["price"], format_time(row["market_at"]))
            self._last.setdefault(row["instrument_id"], stored)
        quotes = [self._quote(one) for one in scales if one in self._last]
        return self._number, quotes, [one for one in instrument_ids if one not in scales]

    def changed(self, since: int, instrument_ids: Collection[UUID]) -> tuple[int, list[dict[str, Any]]]:
        """Where to ask from next, and the quotes of those with a price later than `since`."""
        last = self._last
        return self._number, [self._quote(one) for one in instrument_ids if one in last and last[one].number > since]

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`: take in the feed's prices from now on. Without the stream, quotes are those stored."""
        key, after = stream_key(self._feed), ""
        self._last.clear()  # of an earlier run, which ended: nobody knows what came since
        while not stop.is_set():
            try:
                after = after or await self._tail(key)
                answer: Any = await self._stream.xread({key: after}, count=BATCH, block=BLOCK_MS)
            except REDIS_ERRORS as error:
                log.warning("quotes.no_stream", feed=self._feed, error=repr(error))
                self._last.clear()
                await set_within(stop, RETRY_SECONDS)
                continue
            if answer:
                entries = answer[0][1] if isinstance(answer, list) else next(iter(answer.values()))[0]
                self._take_all(entries)
                after = entries[-1][0]
                if len(entries) < BATCH:
                    await set_within(stop, LINGER_SECONDS)

    async def _tail(self, key: str) -> str:
        """The id of the last entry there is: reading from `$` again and again would miss what comes in between."""
        last: Any = await self._stream.xrevrange(key, count=1)
        return str(last[0][0]) if last else "0-0"

    def _take_all(self, entries: Sequence[tuple[str, dict[str, str]]]) -> None:
        """Every price. An entry that cannot be read is passed over: it may not silence all others."""
        unread = []
        for name, fields in entries:
            try:
                self._take(fields)
            except (KeyError, ValueError):
                unread.append(name)
        if unread:
            log.warning("quotes.entries_not_read", feed=self._feed, count=len(unread), first=unread[0])

    def _take(self, fields: dict[str, str]) -> None:
        if fields["type"] == "price":
            instrument_id, price = UUID(fields["instrument_id"]), int(fields["price"])
            at = datetime.fromisoformat(fields["at"])
            self._number += 1
            self._last[instrument_id] = _Last(self._number, price, format_time(at))

    def _quote(self, instrument_id: UUID) -> dict[str, Any]:
        last = self._last[instrument_id]
        price = format_trimmed(last.price, self._exponents[instrument_id])
        return {"instrument_id": encode_id("ins", instrument_id), "price": price, "at": last.at}
