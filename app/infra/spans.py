"""Decides what leaves in a trace: spans without secrets, though callers put keys into paths and queries.

Logs have the same guard (`logs.redact`). A query string is dropped whole: its values are whatever a caller sends.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Status
from opentelemetry.util.types import AttributeValue

from app.infra.logs import REDACTED, redact

_QUERIES = frozenset({"url.query"})
_URLS = frozenset({"url.full", "http.url", "http.target"})


class RedactingExporter(SpanExporter):
    """Hands copies of spans on to `exporter`, their names, attributes, events and status cleaned."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([_clean(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _clean(span: ReadableSpan) -> ReadableSpan:
    return ReadableSpan(
        name=redact(span.name),
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_cleaned(span.attributes),
        events=[Event(redact(one.name), _cleaned(one.attributes), one.timestamp) for one in span.events],
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code, redact(span.status.description)),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _cleaned(attributes: Mapping[str, AttributeValue] | None) -> dict[str, Any]:
    return {name: _value(name, value) for name, value in (attributes or {}).items()}


def _value(name: str, value: AttributeValue) -> Any:
    if name in _QUERIES:
        return REDACTED if value else value
    if name in _URLS and isinstance(value, str):
        value = value.partition("?")[0]
    return redact({name: value})[name]
