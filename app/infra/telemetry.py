"""Decides what a process tells about itself: logs (`logs`), traces (OpenTelemetry) and metrics (Prometheus).

Metric labels are bounded: route templates and vocabularies, never ids, tenants or paths.
"""

import sys
from datetime import datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

from app.infra.logs import bind, bound, configure_logging
from app.kernel.orders import OrderStatus

METRICS_TYPE = CONTENT_TYPE_LATEST
"""The `Content-Type` of `metrics_text`."""

OTHER = "other"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_MAX_ROUTES = 500
_EXPORT_TIMEOUT_SECONDS = 5

HTTP_REQUESTS = Counter("http_requests_total", "Finished requests.", ["method", "route", "status"])
HTTP_SECONDS = Histogram(
    "http_request_seconds",
    "Seconds from the first byte in to the last byte out.",
    ["method", "route"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
ORDERS = Counter("orders_total", "Orders that reached a status.", ["status"])
WORK_READY = Gauge("work_ready", "Rows of work that wait, ready to run.", ["queue"])
UNSEGREGATED = Gauge("unsegregated_tenants", "Tenants whose clients' money is not all there: alarm unless 0.")
BROKER_CALLS = Counter(
    "broker_calls_total", "Calls for a broker and what became of them.", ["broker", "call", "answer"]
)
BROKER_STATE = Gauge("broker_state", "1 for the state of a broker's circuit breaker.", ["broker", "state"])
FEED_WATERMARK = Gauge(
    "feed_watermark_timestamp", "Market time up to which a feed is complete, Unix seconds.", ["feed"]
)

_routes: set[str] = set()


def setup_telemetry(
    service: str, *, endpoint: str | None, log_level: str, environment: str = "production"
) -> TracerProvider:
    """Configure logs and traces of this process; call it once, first thing, after uvicorn's or Celery's own setup.

    `service` is the process's role (`gateway`, `worker`, `daemon`). `endpoint` is the base URL of an OTLP collector
    (HTTP); without one, spans are ids for the log lines and record nothing. On a terminal of the
    environment `local`, log lines are for people; everywhere else they are JSON.
    """
    configure_logging(service, level=log_level, console=environment == "local" and sys.stderr.isatty())
    current = trace.get_tracer_provider()
    if isinstance(current, TracerProvider):
        return current  # OpenTelemetry takes one provider a process
    provider = make_tracer_provider(service, endpoint=endpoint)
    trace.set_tracer_provider(provider)
    return provider


def make_tracer_provider(service: str, *, endpoint: str | None) -> TracerProvider:
    """A provider named `mandi-<service>`; it exports only when there is an `endpoint`."""
    provider = TracerProvider(
        sampler=None if endpoint else ALWAYS_OFF,
        resource=Resource.create(
            {"service.name": f"mandi-{service}", "service.namespace": "mandi", "service.version": _version()}
        ),
    )
    if endpoint:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        from app.infra.spans import RedactingExporter

        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=_EXPORT_TIMEOUT_SECONDS)
        provider.add_span_processor(BatchSpanProcessor(RedactingExporter(exporter)))
    return provider


def _version() -> str:
    try:
        return version("mandi")
    except PackageNotFoundError:
        return "0"


def tracer() -> trace.Tracer:
    """`with tracer().start_as_current_span("orders.submit"): …`"""
    return trace.get_tracer("mandi")


def bind_request(request_id: str) -> None:
    """Every later log line of this task names the request, and no tenant until one is known."""
    bind({"request_id": request_id})


def bind_tenant(tenant: str) -> None:
    """Every later log line of this task names the tenant."""
    bind({**bound(), "tenant": tenant})


def observe_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count one finished request. `route` is the template (`/v1/orders/{id}`), or `unmatched`."""
    verb = method if method in _METHODS else OTHER
    requests, durations = _series(verb, _bounded(route), str(status) if 100 <= status <= 599 else OTHER)
    requests.inc()
    durations.observe(seconds)


@cache
def _series(verb: str, template: str, status: str) -> tuple[Counter, Histogram]:
    """Kept: finding one by its labels costs more than counting."""
    return HTTP_REQUESTS.labels(verb, template, status), HTTP_SECONDS.labels(verb, template)


def _bounded(route: str) -> str:
    """`route`, or `other` once a mistake has made more of them than the API can have."""
    if route not in _routes:
        if len(_routes) >= _MAX_ROUTES:
            return OTHER
        _routes.add(route)
    return route


def count_order(status: OrderStatus) -> None:
    """Count an order that reached `status`."""
    ORDERS.labels(status.value).inc()


def set_work_ready(queue: str, rows: int) -> None:
    """How many rows of `queue` wait."""
    WORK_READY.labels(queue).set(rows)


def count_broker_call(broker: str, call: str, answer: str) -> None:
    """A call of the kind `call` was `answered`, `failed` or `throttled` (not made)."""
    BROKER_CALLS.labels(broker, call, answer).inc()


def set_broker_state(broker: str, state: str) -> None:
    """Whether the broker is called: `closed` (yes), `half_open` (one order at a time), `open` (no)."""
    for one in ("closed", "half_open", "open"):
        BROKER_STATE.labels(broker, one).set(one == state)


def set_unsegregated(tenants: int) -> None:
    """How many tenants' pools do not cover what their clients are owed."""
    UNSEGREGATED.set(tenants)


def set_feed_watermark(feed: str, at: datetime) -> None:
    """`feed` is complete to `at` (aware, market time)."""
    FEED_WATERMARK.labels(feed).set(at.timestamp())


def metrics_text() -> bytes:
    """All metrics of this process in Prometheus' text format (`METRICS_TYPE`)."""
    return generate_latest()
