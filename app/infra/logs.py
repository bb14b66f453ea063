"""Decides how a process logs: one JSON object a line on stderr, the same for our events and for libraries, no secrets.

Libraries that use the standard `logging` (uvicorn, Celery, SQLAlchemy) pass through the same processors as our events.
Ours go straight to the stream. The line of a request is put together by hand (`log_request`): it is written with every
one, its fields are known to hold no secret, and the processors cost six times as much.
"""

import json
import logging
import re
import sys
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TextIO

import structlog
from opentelemetry import trace
from structlog.typing import EventDict, Processor, WrappedLogger

REDACTED = "[redacted]"
_SECRET_NAME = re.compile(
    r"secret|token|passw(or)?d|authorization|api_?key|cookie|credential|private_?key", re.IGNORECASE
)
_KEY = re.compile(r"\b(sk_(?:test|live)_)[A-Za-z0-9_]+")
_URL_PASSWORD = re.compile(r"([a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s/]+(?=@)", re.IGNORECASE)
_BEARER = re.compile(r"\b(Bearer\s+|Basic\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_ASSIGNED = re.compile(r"\b((?:password|passwd|secret|token|api_key|access_token)=)[^\s&;,'\"]+", re.IGNORECASE)
_SIGNING = re.compile(r"\b(whsec_)[A-Za-z0-9+/=_-]+")
_ROW = re.compile(r"(Failing row contains |Key \([^)\n]*\)=)\(.*\)")  # PostgreSQL's DETAIL repeats what was written
_MAX_DEPTH = 6

_OWN_HANDLERS = (
    "uvicorn",
    "uvicorn.error",
    "uvicorn.access",
    "celery",
    "celery.task",
    "celery.redirected",
    "sqlalchemy",
)
_SILENT = "uvicorn.access"
"""The gateway writes one line a request itself, without the query string. uvicorn puts its own together for any logger
that somebody hears, whatever its level."""
_PINNED = {
    "authlib": logging.INFO,  # DEBUG prints tokens
    "celery.app.trace": logging.WARNING,  # INFO prints two lines for every wake-up
    "celery.worker.strategy": logging.WARNING,
    "httpx": logging.WARNING,
    "httpcore": logging.INFO,
    "kiteconnect": logging.INFO,  # DEBUG prints request bodies with checksums
    "sqlalchemy": logging.WARNING,  # INFO prints statements with their values
    "stripe": logging.INFO,
    "urllib3": logging.INFO,
    "websockets": logging.INFO,
}
"""The least severe level at which a library may speak, whatever LOG_LEVEL says."""


def redact_text(text: str) -> str:
    """`text` without API keys, bearer credentials and passwords inside URLs."""
    # what one of the patterns would change has one of these, or white space inside; most texts have none
    if not ("=" in text or "sk_" in text or "whsec_" in text or "://" in text or len(text.split(None, 1)) > 1):
        return text
    text = _KEY.sub(rf"\1{REDACTED}", text)
    text = _SIGNING.sub(rf"\1{REDACTED}", text)
    text = _ROW.sub(rf"\1{REDACTED}", text)
    text = _URL_PASSWORD.sub(rf"\1{REDACTED}", text)
    text = _BEARER.sub(rf"\1{REDACTED}", text)
    return _ASSIGNED.sub(rf"\1{REDACTED}", text)


def redact(value: Any, *, depth: int = 0) -> Any:
    """`value` with secrets replaced: by the name of the key that holds them, or by their shape, at any depth."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, (bool, int, float)) or value is None:
        return value
    if depth >= _MAX_DEPTH:
        return REDACTED
    if isinstance(value, Mapping):
        return {
            redact(key, depth=depth + 1): REDACTED if _is_secret(key, item) else redact(item, depth=depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redact(item, depth=depth + 1) for item in value]
    return redact_text(str(value))


def redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """structlog's processor around `redact`. It runs last before rendering, so tracebacks are covered too."""
    return {key: REDACTED if _is_secret(key, item) else redact(item) for key, item in event.items()}


def _is_secret(key: object, item: object) -> bool:
    return item is not None and isinstance(key, str) and _names_a_secret(key)


@lru_cache(maxsize=1024)
def _names_a_secret(key: str) -> bool:
    return _SECRET_NAME.search(key) is not None


_bound: ContextVar[Mapping[str, str]] = ContextVar("log_bound", default=MappingProxyType({}))


def bind(bound: Mapping[str, str]) -> None:
    """Every later line of this task says `bound`, and nothing that was bound before."""
    _bound.set(bound)


def bound() -> Mapping[str, str]:
    """What the lines of this task say."""
    return _bound.get()


def _add_bound(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for name, value in _bound.get().items():
        event.setdefault(name, value)
    return event


def _add_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
        event["span_id"] = trace.format_span_id(context.span_id)
    return event


def _add_service(service: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    return add


_encode = json.JSONEncoder(ensure_ascii=False, default=repr).encode


def _to_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return _encode(event)


class _Lines:
    """structlog's logger of one name: writes what the processors made of an event."""

    def __init__(self, name: str, stream: TextIO) -> None:
        self.name = name
        self._stream = stream

    def msg(self, line: str) -> None:
        self._stream.write(line + "\n")  # one call, so that threads do not mix their lines
        self._stream.flush()

    debug = info = warning = error = critical = exception = msg


def log_request(*, method: str, route: str, status: int | None, ms: float) -> None:
    """The line of a finished request. `method` and `route` are of our vocabulary, never what a client made up."""
    write = _write_request if structlog.is_configured() else _through_structlog
    write(method, route, status, ms)


RequestWriter = Callable[[str, str, int | None, float], None]


def _through_structlog(method: str, route: str, status: int | None, ms: float) -> None:
    structlog.get_logger("mandi").info("request", method=method, route=route, status=status, ms=ms)


_write_request: RequestWriter = _through_structlog
_text = json.encoder.encode_basestring
"""A string as JSON."""


def _request_writer(service: str, stream: TextIO) -> RequestWriter:
    always = f'"logger": "app.web.middleware", "level": "info", "service": {_text(service)}'

    def write(method: str, route: str, status: int | None, ms: float) -> None:
        context = _add_trace(None, "", dict(_bound.get()))
        if (given := context.get("request_id")) is not None:
            context["request_id"] = redact_text(given)  # a client may have chosen it
        bound = "".join([f', "{name}": {_text(value)}' for name, value in context.items()])
        outcome = f'"status": {"null" if status is None else status}, "ms": {ms}, "timestamp": "{_now()}"'
        asked = f'"method": {_text(method)}, "route": {_text(route)}'
        stream.write(f'{{"event": "request", {asked}, {outcome}{bound}, {always}}}\n')
        stream.flush()

    return write


def _now() -> str:
    seconds, microseconds = divmod(time.time_ns() // 1000, 1_000_000)
    return f"{_second(seconds)}.{microseconds:06}Z"


@lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().removesuffix("+00:00")


def configure_logging(service: str, *, level: str, console: bool = False, stream: TextIO | None = None) -> None:
    """Route everything through one handler on `stream` (stderr by default). May be called again: the last call wins.

    `console` renders for people instead of JSON. The context (`request_id`, `tenant`, …) is what was bound (`bind`):
    one variable for all of it, since every request binds twice and reads once. Celery must be told not to configure
    logging: connect `celery.signals.setup_logging`.
    """
    threshold = logging.getLevelNamesMapping()[level]
    shared: list[Processor] = [
        _add_bound,
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_service(service),
        _add_trace,
    ]
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback) if console else _to_json
    )
    rendering: list[Processor] = [
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        structlog.processors.UnicodeDecoder(),
        redact_event,
        renderer,
    ]
    used = stream or sys.stderr
    handler = logging.StreamHandler(used)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    global _write_request
    quiet = console or threshold > logging.INFO
    _write_request = _through_structlog if quiet else _request_writer(service, used)
    structlog.configure(
        processors=[*shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda name="mandi": _Lines(name, used),
        cache_logger_on_first_use=False,
    )
    _route_libraries(handler, threshold)


def _route_libraries(handler: logging.Handler, threshold: int) -> None:
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(threshold)
    for name in _OWN_HANDLERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = name != _SILENT
    for name, least in _PINNED.items():
        logging.getLogger(name).setLevel(max(least, threshold))
    logging.captureWarnings(True)
