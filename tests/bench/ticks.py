"""Prices for a benchmark, shown as the feed shows them. Over a raw socket: a client library took a fifth of a core for
a thousand a second, which would be measured with what reads them, on the same cores."""

import asyncio
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from urllib.parse import urlsplit
from uuid import UUID

STREAM = b"feed:replay"
KEPT = b"100000"


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n%s" % (len(words), b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))


async def tick(
    url: str,
    instruments: Sequence[UUID],
    *,
    start: datetime,
    price: int,
    step: int,
    per_second: int,
    stop: asyncio.Event,
) -> None:
    """Until `stop`: `per_second` prices a second for each instrument, a seeded random walk in steps of `step`."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    if parts.password:
        await _ask(reader, writer, [_command(b"AUTH", parts.password.encode())], lines=1)
    if database := parts.path.strip("/"):
        await _ask(reader, writer, [_command(b"SELECT", database.encode())], lines=1)
    randomness, clock = random.Random(11), asyncio.get_running_loop().time
    prices, at, due = dict.fromkeys(instruments, price), start, clock()
    names = {instrument: str(instrument).encode() for instrument in instruments}
    while not stop.is_set():
        at += timedelta(seconds=1) / per_second
        shown = at.isoformat().encode()
        commands = []
        for instrument, name in names.items():
            prices[instrument] += randomness.choice((-step, 0, step))
            fields = (b"type", b"price", b"instrument_id", name, b"price", b"%d" % prices[instrument])
            rest = (b"volume", b"100", b"at", shown, b"first", b"0")
            commands.append(_command(b"XADD", STREAM, b"MAXLEN", b"~", KEPT, b"*", *fields, *rest))
        await _ask(reader, writer, commands, lines=2)
        due += 1 / per_second
        await asyncio.sleep(max(due - clock(), 0))
    writer.close()


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, commands: Sequence[bytes], *, lines: int
) -> None:
    """Send and read the answers, of so many lines each."""
    writer.write(b"".join(commands))
    for _ in range(len(commands)):
        if (said := await reader.readline())[:1] in (b"-", b""):
            raise RuntimeError(f"the stream says {said!r}")
        for _ in range(lines - 1):
            await reader.readline()
