"""Decides which events an endpoint hears, when a delivery is tried again, and when an endpoint is given up."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from app.kernel.errors import invalid

SCHEDULE = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400)
"""Seconds before each attempt, after the one before (Standard Webhooks): the last is tried after some 33 hours."""

JITTER_PERCENT = 20
LONGEST_RETRY_AFTER = 24 * 3_600
MAX_PATTERNS = 50
DISABLED_AFTER = timedelta(days=5)
"""An endpoint to which every attempt failed for so long is disabled."""

FORMER_SECRET_FOR = timedelta(hours=24)
"""How long the former secret signs, too, after a rotation."""

API_VERSION = "1"
_PATTERN = re.compile(r"\*|[a-z_]{1,40}\.(\*|[a-z_]{1,40})")


class EndpointStatus(StrEnum):
    ENABLED = "enabled"
    DISABLED = "disabled"


class DeliveryStatus(StrEnum):
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one try: a status, or a word for why there was none. `retry_after` is in seconds."""

    status: int | None
    error: str | None = None
    retry_after: int | None = None

    @property
    def succeeded(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """The receiver wants no more of this endpoint."""
        return self.status == 410


def check_patterns(patterns: Sequence[str]) -> list[str]:
    """Sorted, each once. Raises `invalid_event_types`."""
    wanted = sorted(set(patterns))
    if not wanted or len(wanted) > MAX_PATTERNS:
        raise invalid("invalid_event_types", f"Name between 1 and {MAX_PATTERNS} event types.", param="event_types")
    for pattern in wanted:
        if _PATTERN.fullmatch(pattern) is None:
            raise invalid(
                "invalid_event_types",
                f"{pattern[:64]!r} is no event type: it looks like order.filled, order.* or *.",
                param="event_types",
            )
    return wanted


def hears(patterns: Sequence[str], event_type: str) -> bool:
    """Whether one of the patterns takes the event: itself, `order.*`, or `*`."""
    return not {"*", event_type, f"{event_type.partition('.')[0]}.*"}.isdisjoint(patterns)


def seconds_until_next(attempts: int, outcome: Attempt, *, draw: int) -> int | None:
    """Before the next attempt after `attempts` made ones, at least what the receiver asks for; None after the last.

    `draw` is a random number from 0 to 1000 that moves the wait within ± 20 %.
    """
    if attempts >= len(SCHEDULE):
        return None
    planned = SCHEDULE[attempts]
    moved = planned * (100_000 + JITTER_PERCENT * (2 * draw - 1_000)) // 100_000
    return max(moved, min(outcome.retry_after or 0, LONGEST_RETRY_AFTER))


def parse_retry_after(value: str | None) -> int | None:
    """Seconds of a `Retry-After` header. A date is not followed: our schedule decides instead."""
    text = (value or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None


def is_given_up(failing_since: datetime | None, *, now: datetime) -> bool:
    """Whether everything has failed for `DISABLED_AFTER`."""
    return failing_since is not None and now - failing_since >= DISABLED_AFTER
