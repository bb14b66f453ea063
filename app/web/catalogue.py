"""`/errors`: every code that a problem document may carry, one anchor each. `errors.json` is read off the source.

`python -m tests.architecture.error_codes` writes the file; a test fails when the source raises what it lacks.
"""

import json
from dataclasses import dataclass
from functools import cache
from html import escape
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, JSONResponse

from app.web.reference_pages import CACHED, answer, document

_FILE = Path(__file__).with_name("errors.json")
_REMEDIES = {
    400: "Mend the request's syntax; it was not read any further.",
    401: "Send a credential that is in force.",
    402: "Choose a plan that includes it.",
    403: "Use a credential that may do this.",
    404: "Check the id; what belongs to another tenant does not exist for you.",
    405: "Use one of the methods that the header Allow lists.",
    409: "Read the present state, and decide anew.",
    412: "Read the object again, and send its present ETag.",
    413: "Send less at a time.",
    415: "Send JSON, as application/json, uncompressed.",
    422: "Correct the field that `param` names. Nothing was written.",
    429: "Wait for as long as Retry-After says, then send it again.",
    431: "Send fewer or shorter headers.",
    500: "Try again later, and tell support the request_id.",
    503: "Send it again after Retry-After, with the same Idempotency-Key.",
}
router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class ErrorEntry:
    """One code. `says`: its messages, with what varies as {names}."""

    code: str
    status: tuple[int, ...]
    retryable: bool
    says: tuple[str, ...]

    @property
    def remedy(self) -> str:
        """What to do, whatever the message says besides."""
        return _REMEDIES[self.status[0]]

    def as_dict(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "status": list(self.status),
            "retryable": self.retryable,
            "meaning": list(self.says),
            "remedy": self.remedy,
        }


@cache
def entries() -> tuple[ErrorEntry, ...]:
    """The catalogue, by code."""
    found = json.loads(_FILE.read_text(encoding="utf-8"))
    return tuple(ErrorEntry(one["code"], tuple(one["status"]), one["retryable"], tuple(one["says"])) for one in found)


@cache
def _page() -> str:
    return document(
        "Errors",
        introduction=(
            "Every error is a problem document (RFC 9457) whose <code>code</code> is stable. <code>detail</code> says "
            "what is wrong with this request; words in { } stand for its values. The same list as JSON: "
            '<a href="/errors.json">/errors.json</a>.'
        ),
        sections="".join(_section(entry) for entry in entries()),
    )


def _section(entry: ErrorEntry) -> str:
    statuses = ", ".join(f"{status} {HTTPStatus(status).phrase}" for status in entry.status)
    again = "may be sent again" if entry.retryable else "not to be repeated unchanged"
    meaning = "".join(f"<p>{escape(said)}</p>" for said in entry.says)
    return (
        f'<section id="{escape(entry.code)}"><h2><code>{escape(entry.code)}</code></h2>'
        f'<p class="meta">{statuses}; {again}</p>{meaning}<p><strong>What to do:</strong> '
        f"{escape(entry.remedy)}</p></section>"
    )


@router.get("/errors", response_class=HTMLResponse)
async def page() -> HTMLResponse:
    """One page, an anchor for each code: where `type` of a problem leads."""
    return answer(_page())


@router.get("/errors.json")
async def listed() -> JSONResponse:
    """The same for programs."""
    body = {"data": [entry.as_dict() for entry in entries()], "has_more": False}
    return JSONResponse(body, headers=CACHED)
