"""Decides what code of any process may ask for: settings, pools, clients and a clock, as `bootstrap` opened them."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from types import FrameType

from redis.asyncio import Redis

from app.infra.crypto.sealer import Sealer
from app.infra.database import Database
from app.infra.settings import Settings
from app.infra.work.relay import Poker


@dataclass(frozen=True, slots=True)
class App:
    """What a process works with. `stream` carries market data and may be another server than `redis`."""

    settings: Settings
    database: Database
    redis: Redis
    stream: Redis
    poker: Poker
    clock: Callable[[], datetime]
    sealer: Sealer


@contextmanager
def on_termination(act: Callable[[], object]) -> Iterator[None]:
    """Call `act` at SIGTERM or SIGINT before whoever handles them now: a server waits for its streams to end, and only
    then for the application."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def handle(number: int, frame: FrameType | None) -> None:
        act()
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is handle:
                signal.signal(number, handler)
