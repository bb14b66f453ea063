"""What the replay needs to know of the rest of the house, without looking upward."""

from datetime import datetime
from typing import Protocol


class Settled(Protocol):
    """Whether everybody has caught up with a feed: the barrier that makes a replay's speed change no result.

    True when (a) the matcher's checkpoint has reached `last_stream_id`, (b) no ready work of the queue `execution`
    is left, (c) if `watermark` is not None, every running deployment on the feed has run its bar of that time, and (d)
    the calendar's jobs that are due and have something to do are done.
    """

    async def __call__(self, feed: str, watermark: datetime | None, last_stream_id: str) -> bool: ...
