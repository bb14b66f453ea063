"""Decides which events an endpoint hears, when a delivery is tried again, and when an endpoint is given up."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from pydantic import Field

from app.kernel.errors import invalid
from app.kernel.events import EventPayload, EventType, check_patterns, matches

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


def check_event_types(patterns: Sequence[str], known: Collection[str]) -> list[str]:
    """Sorted, each once. `known`: every event type. Raises `invalid_event_types`, `unknown_event_type`."""
    if not patterns or len(set(patterns)) > MAX_PATTERNS:
        raise invalid("invalid_event_types", f"Name between 1 and {MAX_PATTERNS} event types.", param="event_types")
    return check_patterns(patterns, known, param="event_types")


def hears(patterns: Sequence[str], event_type: str) -> bool:
    """Whether one of the patterns takes the event."""
    return any(matches(pattern, event_type) for pattern in patterns)


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


class EndpointCreated(EventPayload):
    event_types: list[str] = Field(description="The types and patterns that it hears.")


class EndpointUpdated(EventPayload):
    status: Literal["enabled", "disabled"] = Field(description="Its status after the change.")


class EndpointDisabled(EventPayload):
    reason: Literal["gone", "failing"] = Field(description="The receiver answered 410, or nothing reached it for days.")


EVENTS = (
    EventType("webhook_endpoint.created", "whe", "A webhook endpoint was created.", EndpointCreated),
    EventType("webhook_endpoint.updated", "whe", "A webhook endpoint was changed.", EndpointUpdated),
    EventType("webhook_endpoint.deleted", "whe", "A webhook endpoint was deleted with its deliveries."),
    EventType("webhook_endpoint.secret_rotated", "whe", "A webhook endpoint got a new secret."),
    EventType("webhook_endpoint.tested", "whe", "A test event was asked for; it goes to this endpoint only."),
    EventType("webhook_endpoint.disabled", "whe", "A webhook endpoint was given up.", EndpointDisabled),
)
