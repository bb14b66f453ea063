"""How the fake live broker is reached."""

from collections.abc import Callable
from dataclasses import dataclass, field

from app.trading.brokers.ports import BrokerAccount


@dataclass(frozen=True, slots=True)
class LiveConfig:
    """Where it answers, who asks. `session` is the account's access token of the day, or None when there is none."""

    http: str
    websocket: str
    api_key: str
    session: Callable[[BrokerAccount], str | None] = field(repr=False)
    timeout_seconds: float = 7.0
    silence_seconds: float = 5.0
    """A socket that sends nothing for so long, heartbeats included, is dead."""
