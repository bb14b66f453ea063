"""Decides what a type of event is: a name, whose id its subject is, and the fields that its payload may have.

Slices declare theirs as `EVENTS` in their `domain`. Names and payloads are public contract: a new field is optional,
anything else is a new version.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from app.kernel.errors import invalid

_NAME = re.compile(r"[a-z_]{1,40}\.[a-z_]{1,40}", re.ASCII)
_PREFIX = re.compile(r"[a-z]{3}", re.ASCII)
_MOMENT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z$"

DecimalText = Annotated[str, Field(pattern=r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$")]
"""An exact number: `"12.50"`."""

Moment = Annotated[str, Field(pattern=_MOMENT, json_schema_extra={"format": "date-time"})]
"""RFC 3339 in UTC: `"2026-01-31T09:15:00Z"`."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 in hexadecimal."""


class EventPayload(BaseModel):
    """Base of every payload: the fields that are described and no others, of exactly the types that JSON shows. A field
    that is not always there has a default."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NoDetails(EventPayload):
    """The type and the subject say it all."""


class Because(EventPayload):
    """What ended or failed, and why."""

    reason: str = Field(description="Why, in a few words.")


class Named(EventPayload):
    """What a person calls the subject."""

    name: str = Field(description="The subject's name when it happened.")


@dataclass(frozen=True, slots=True)
class EventType:
    """`order.filled`: family and what happened to it, in the past tense. `subject`: the prefix of its subject's id."""

    name: str
    subject: str
    says: str
    payload: type[EventPayload] = NoDetails
    version: int = 1

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or not _PREFIX.fullmatch(self.subject):
            raise ValueError(f"{self.name!r} of {self.subject!r} is no event type: it looks like order.filled of ord")

    @property
    def family(self) -> str:
        return family_of(self.name)


def family_of(name: str) -> str:
    """`order` of `order.filled`."""
    return name.partition(".")[0]


def public_id(prefix: str) -> str:
    """The pattern of a public id with this prefix."""
    return rf"^{prefix}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$"


def matches(pattern: str, name: str) -> bool:
    """Whether `pattern` takes the event type: it is the type, or its beginning with a star (`order.*`, `*`)."""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def check_patterns(patterns: Sequence[str], known: Collection[str], *, param: str) -> list[str]:
    """Sorted, each once, when every pattern takes at least one of the `known` types. Raises `unknown_event_type`."""
    for pattern in patterns:
        if not any(matches(pattern, name) for name in known):
            family = family_of(pattern)
            near = sorted(name for name in known if family_of(name) == family)
            families = sorted({f"{family_of(name)}.*" for name in known})
            raise invalid(
                "unknown_event_type",
                f"{pattern[:64]!r} is no event type; use one of {', '.join(near or families)} (/events describes all).",
                param=param,
            )
    return sorted(set(patterns))
