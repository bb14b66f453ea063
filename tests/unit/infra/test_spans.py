"""Spans leave without secrets: not in a query, a path, an exception or a status."""

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode

from app.infra.spans import RedactingExporter

KEY = "sk_test_in1_8r2m0x9c4tqa_c4n4ryc4n4ryc4n4ry"


def test_what_a_span_says_is_kept_and_its_secrets_are_not() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(RedactingExporter(exporter)))
    with provider.get_tracer("t").start_as_current_span(f"GET /v1/orders/{KEY}") as span:
        span.set_attributes(
            {
                "url.path": f"/v1/orders/{KEY}",
                "url.query": "code=c4n4ry",
                "url.full": "http://h/v1/orders?code=c4n4ry",
                "http.request.header.authorization": ("c4n4ry",),
                "http.response.status_code": 404,
                "list": [KEY, "plain"],
            }
        )
        span.record_exception(ValueError(f"cannot reach redis://:c4n4ry@h with {KEY}"))
        span.set_status(Status(StatusCode.ERROR, f"failed for {KEY}"))
    provider.shutdown()
    (kept,) = exporter.get_finished_spans()
    shown = kept.to_json()
    assert "c4n4ry" not in shown
    assert kept.attributes is not None
    assert kept.attributes["http.response.status_code"] == 404
    assert kept.attributes["url.full"] == "http://h/v1/orders"
    assert '"sk_test_[redacted]",' in shown and '"plain"' in shown
    assert kept.context == span.get_span_context()
    assert kept.status.status_code is StatusCode.ERROR and len(kept.events) == 1
