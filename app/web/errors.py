"""Decides what a failure looks like outside: RFC 9457 problem documents. Holds the only table from kinds to HTTP."""

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import asyncpg
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import Field
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

from app.infra.outages import AWAY
from app.kernel.errors import DomainError, Kind, StepUpError
from app.web.bodies import Malformed
from app.web.context import request_id_of
from app.web.models import ApiModel

STATUS: dict[Kind, int] = {
    Kind.INVALID: 422,
    Kind.UNAUTHENTICATED: 401,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.CONFLICT: 409,
    Kind.STALE: 412,
    Kind.LIMITED: 429,
    Kind.UNAVAILABLE: 503,
}
RETRYABLE = frozenset({429, 503})
MAX_ECHO = 64
MAX_ERRORS = 20
_TRANSIENT = (
    *AWAY,
    asyncpg.TransactionRollbackError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    PoolTimeoutError,
    TimeoutError,
)
"""A database that is away, full or asks to be asked again: the same request may succeed later."""

_REMEDIES = {
    "missing": "is required",
    "extra_forbidden": "is not a field of this request: remove it, or check its spelling",
    "string_type": "must be a string, in quotes",
    "int_type": "must be a whole number, without quotes",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number, without decimals",
    "bool_type": "must be true or false, without quotes",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be a JSON object, sent with Content-Type: application/json",
    "timezone_aware": "must name its offset, such as 2026-01-31T09:15:00Z",
    "datetime_from_date_parsing": "must be an RFC 3339 time such as 2026-01-31T09:15:00Z",
    "datetime_parsing": "must be an RFC 3339 time such as 2026-01-31T09:15:00Z",
    "datetime_type": "must be an RFC 3339 time such as 2026-01-31T09:15:00Z",
}
_HTTP = {
    404: ("no_such_path", "This path does not exist. /openapi.json lists every operation."),
    405: ("method_not_allowed", "This path exists, but not with this method. The header Allow lists those it takes."),
    413: ("body_too_large", "The request body is larger than 256 KiB. Send less at a time."),
    431: ("headers_too_large", "The request headers are larger than 16 KiB. Send fewer or shorter ones."),
}

log = structlog.get_logger(__name__)


class FieldError(ApiModel):
    """One wrong field: where it is, a stable code, what to do."""

    param: str
    code: str
    message: str


class Problem(ApiModel):
    """An error (RFC 9457). `code` is stable; `detail` says what is wrong and what to do."""

    type: str = Field(description="Where the code is explained.")
    title: str = Field(description="The status in words.")
    status: int = Field(description="The HTTP status.")
    detail: str
    code: str
    param: str | None = None
    errors: tuple[FieldError, ...] = ()
    request_id: str
    retryable: bool


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    request_id: str,
    param: str | None = None,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
    retry_after_s: int | None = None,
) -> JSONResponse:
    """An `application/problem+json` response."""
    body = Problem(
        type=f"/errors#{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        param=param,
        errors=tuple(errors),
        request_id=request_id,
        retryable=status in RETRYABLE or retry_after_s is not None,
    )
    sent = dict(headers or {})
    if retry_after_s is not None:
        sent["Retry-After"] = str(retry_after_s)
    if status == 401:
        sent.setdefault("WWW-Authenticate", 'Bearer realm="mandi"')
    return JSONResponse(body.model_dump(mode="json"), status, headers=sent, media_type="application/problem+json")


def describe(errors: Sequence[Mapping[str, Any]]) -> list[FieldError]:
    """Pydantic's errors as field errors: the path without `body` or `query`, a remedy, never the value sent."""
    return [
        FieldError(
            param=".".join(str(part)[:MAX_ECHO] for part in error["loc"][1:]) or str(error["loc"][0]),
            code=str(error["type"]),
            message=_REMEDIES.get(error["type"]) or str(error["msg"])[:200],
        )
        for error in errors[:MAX_ERRORS]
    ]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        cause = error.orig if isinstance(error, DBAPIError) else None
        error = cause or error.__cause__


def unexpected(error: Exception, request_id: str) -> JSONResponse:
    """The answer to what nobody anticipated: 503 when trying again may help, else 500. Says nothing of the inside."""
    if any(isinstance(link, _TRANSIENT) for link in _chain(error)):
        log.warning("request.unavailable", error=type(error).__name__)
        return problem(
            503,
            "temporarily_unavailable",
            "A part of the service is away just now. Whether this request was carried out is not known: repeat it in a "
            "second, with the same client order id or Idempotency-Key if it writes.",
            request_id=request_id,
            headers={"Retry-After": "1"},
        )
    log.error("request.failed", exc_info=error)
    return problem(
        500,
        "internal_error",
        "Something failed on our side and was logged. If it stays so, tell support the request_id.",
        request_id=request_id,
    )


def domain_problem(request: Request, error: DomainError) -> JSONResponse:
    """What an expected failure looks like outside."""
    return problem(
        STATUS[error.kind],
        error.code,
        error.message,
        request_id=request_id_of(request),
        param=error.param,
        headers={"WWW-Authenticate": _step_up(error)} if isinstance(error, StepUpError) else None,
        retry_after_s=error.retry_after_s,
    )


def _step_up(error: StepUpError) -> str:
    """The challenge of RFC 9470: a client that knows it sends the person to log in, with this `max_age`."""
    said = "A more recent login is needed"
    return f'Bearer realm="mandi", error="{error.code}", error_description="{said}", max_age={error.max_age_s}'


def _validation_problem(request: Request, error: RequestValidationError) -> JSONResponse:
    request_id = request_id_of(request)
    found = error.errors()
    if any(one["type"] == "json_invalid" for one in found):
        return problem(400, "malformed_json", "The body is not valid JSON.", request_id=request_id)
    errors = describe(found)
    names = ", ".join(dict.fromkeys(one.param for one in errors))
    return problem(
        422,
        "invalid_request",
        f"Correct {names}: {errors[0].param} {errors[0].message}."[:300],
        request_id=request_id,
        param=errors[0].param,
        errors=errors,
    )


def _exception_problem(request: Request, error: HTTPException) -> JSONResponse:
    code, detail = _HTTP.get(error.status_code, ("malformed_request", "The request could not be read."))
    if isinstance(error, Malformed):
        code, detail = error.code, error.detail
    if error.status_code >= 500:
        code, detail = "internal_error", "Something failed on our side and was logged."
    return problem(error.status_code, code, detail, request_id=request_id_of(request), headers=error.headers)


def http_problem(status: int, request_id: str) -> JSONResponse:
    """The problem of a plain HTTP status (404, 405, 413, 431)."""
    code, detail = _HTTP[status]
    return problem(status, code, detail, request_id=request_id)


ANTICIPATED = (DomainError, RequestValidationError, HTTPException)


def anticipated(request: Request, error: Exception) -> JSONResponse:
    """The answer to one of `ANTICIPATED`."""
    if isinstance(error, DomainError):
        return domain_problem(request, error)
    if isinstance(error, RequestValidationError):
        return _validation_problem(request, error)
    assert isinstance(error, HTTPException)
    return _exception_problem(request, error)


async def _on_anticipated(request: Request, error: Exception) -> JSONResponse:
    return anticipated(request, error)


def install_errors(app: FastAPI) -> None:
    """Make every anticipated failure a problem document; the middleware answers the others with `unexpected`."""
    for kind in ANTICIPATED:
        app.exception_handler(kind)(_on_anticipated)
