"""Decides what code of any process may ask for: settings, pools, clients and a clock, as `bootstrap` opened them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

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
