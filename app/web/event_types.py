"""`/events`: every type of event, what it says and its payload. `events.json` is read off the slices' declarations.

`python -m tests.architecture.event_types` writes the file; a test fails when a slice declares or emits what it lacks.
It is a file since `web` lies below the slices and may not ask them.
"""

import json
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, JSONResponse

from app.kernel.events import family_of
from app.web.reference_pages import CACHED, answer, document

_FILE = Path(__file__).with_name("events.json")
router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class EventEntry:
    """One type. `subject`: the prefix of its subject's id. `payload`: the JSON schema of `data`."""

    name: str
    version: int
    subject: str
    says: str
    payload: dict[str, Any]


def _read() -> tuple[EventEntry, ...]:
    return tuple(EventEntry(**one) for one in json.loads(_FILE.read_text(encoding="utf-8")))


ENTRIES = _read()
"""The catalogue, by name."""

TYPES = tuple(entry.name for entry in ENTRIES)
"""Every event type."""

SUBJECTS = MappingProxyType({family_of(entry.name): entry.subject for entry in ENTRIES})
"""The id prefix of an event's subject, by its family: the first part of its type."""


@cache
def _page() -> str:
    return document(
        "Events",
        introduction=(
            "Every event has a <code>type</code>, the id of its subject, and in <code>data</code> the fields listed "
            "here. GET /v1/events lists them, GET /v1/events/stream and webhooks tell them; there "
            "<code>order.*</code> takes every type that begins so. A type may get more fields, and there will be more "
            'types: pass over what you do not know. The same list as JSON: <a href="/events.json">/events.json</a>.'
        ),
        sections="".join(_section(entry) for entry in ENTRIES),
    )


def _section(entry: EventEntry) -> str:
    fields = _fields(entry.payload, entry.payload.get("$defs", {}))
    return (
        f'<section id="{escape(entry.name)}"><h2><code>{escape(entry.name)}</code></h2>'
        f'<p class="meta">version {entry.version}; the subject is <code>{escape(entry.subject)}_…</code></p>'
        f"<p>{escape(entry.says)}</p>{fields or '<p>Its data is empty.</p>'}</section>"
    )


def _fields(schema: dict[str, Any], models: dict[str, Any]) -> str:
    """The fields of an object as a list, those of objects within it as a list inside."""
    required = schema.get("required", ())
    told = [
        f"<li><code>{escape(name)}</code> <span>({_kind(field)}{'' if name in required else ', not always there'})"
        f"</span>: {escape(field['description'])}{_inner(field, models)}</li>"
        for name, field in schema.get("properties", {}).items()
    ]
    return f"<ul>{''.join(told)}</ul>" if told else ""


def _kind(field: dict[str, Any]) -> str:
    choices = [one["type"] for one in field.get("anyOf", ())]
    return escape(" or ".join(choices) if choices else field.get("format") or field["type"])


def _inner(field: dict[str, Any], models: dict[str, Any]) -> str:
    model = field.get("items", {}).get("$ref", "").rpartition("/")[2]
    return _fields(models[model], models) if model else ""


@router.get("/events", response_class=HTMLResponse)
async def page() -> HTMLResponse:
    """One page, an anchor for each type."""
    return answer(_page())


@router.get("/events.json")
async def listed() -> JSONResponse:
    """The same for programs, with the JSON schema of every payload."""
    data = [
        {
            "type": entry.name,
            "version": entry.version,
            "subject": entry.subject,
            "description": entry.says,
            "data": entry.payload,
        }
        for entry in ENTRIES
    ]
    return JSONResponse({"data": data, "has_more": False}, headers=CACHED)
