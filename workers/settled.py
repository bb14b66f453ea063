"""Decides when a replay may go on: matched, sent and decided up to its watermark (rule 18)."""

from datetime import datetime

import asyncpg

_CAUGHT_UP = """
select (select stream_id from paper_checkpoints where feed = $1) as checkpoint,
       exists (select 1 from work_items w join accounts a on (a.tenant_id, a.id) = (w.tenant_id, w.lane)
               where w.queue = 'execution' and w.state = 'ready' and a.feed = $1
                 and w.available_at <= clock_timestamp() + interval '1 second') as busy,
       $2::timestamptz is not null
       and exists (select 1 from deployments
                   where status = 'running' and feed = $1 and last_bar < $2) as behind
"""
"""Work that waits longer than a second for another attempt does not stop the market, nor does another feed's."""


class WorkSettled:
    """The replay's port `Settled`, answered with one statement as the role `mandi_dispatch`."""

    def __init__(self, dispatch: asyncpg.Pool) -> None:
        self._dispatch = dispatch

    async def __call__(self, feed: str, watermark: datetime | None, last_stream_id: str) -> bool:
        row = await self._dispatch.fetchrow(_CAUGHT_UP, feed, watermark)
        assert row is not None
        if row["busy"] or row["behind"]:
            return False
        return entry_number(row["checkpoint"] or "0-0") >= entry_number(last_stream_id)


def entry_number(stream_id: str) -> tuple[int, int]:
    """A Redis stream id `milliseconds-sequence` as numbers, which order entries as the stream does."""
    milliseconds, _, sequence = stream_id.partition("-")
    return int(milliseconds), int(sequence or 0)
