"""Decides when a replay may go on: all that was asked up to its watermark is matched, sent, decided, done (rule 18)."""

from datetime import datetime

import asyncpg

_CAUGHT_UP = """
select (select stream_id from paper_checkpoints where feed = $1) as checkpoint,
       exists (select 1 from work_items w join accounts a on (a.tenant_id, a.id) = (w.tenant_id, w.lane)
               where w.queue = 'execution' and w.state = 'ready' and a.feed = $1
                 and w.available_at <= clock_timestamp() + interval '1 second') as busy,
       $2::timestamptz is not null
       and exists (select 1 from deployments
                   where status = 'running' and feed = $1 and last_bar < $2) as behind,
       exists (select 1 from calendar_jobs j
               where j.feed = $1 and j.state = 'pending' and j.attempts < 3
                 and j.due_at <= (select market_at from feed_state where feed = $1)
                 and (j.kind = 'square_off' and j.wanted
                      or j.kind = 'open' and exists (select 1 from waiting_orders
                                                     where feed = $1 and waits_for = 'open'))) as called
"""
"""Work that waits longer than a second for another attempt does not stop the market, nor does another feed's; nor does
a job of the calendar that nobody needs, or that has failed thrice."""


class WorkSettled:
    """The replay's port `Settled`, answered with one statement as the role `mandi_dispatch`."""

    def __init__(self, dispatch: asyncpg.Pool) -> None:
        self._dispatch = dispatch

    async def __call__(self, feed: str, watermark: datetime | None, last_stream_id: str) -> bool:
        row = await self._dispatch.fetchrow(_CAUGHT_UP, feed, watermark)
        assert row is not None
        if row["busy"] or row["behind"] or row["called"]:
            return False
        return entry_number(row["checkpoint"] or "0-0") >= entry_number(last_stream_id)


def entry_number(stream_id: str) -> tuple[int, int]:
    """A Redis stream id `milliseconds-sequence` as numbers, which order entries as the stream does."""
    milliseconds, _, sequence = stream_id.partition("-")
    return int(milliseconds), int(sequence or 0)
