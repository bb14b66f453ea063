"""Logs are one JSON line each and carry no secret; traces leave only when told to; metric labels stay bounded."""

import io
import json
import logging
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
import structlog
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from app.infra import telemetry
from app.infra.logs import REDACTED, configure_logging, log_request, redact, redact_text
from app.kernel.orders import OrderStatus

CANARY = "c4n4ryc4n4ry"
BOUNDED_LABELS = {"method", "route", "status", "queue", "feed", "broker", "call", "answer", "state"}


@pytest.fixture
def stream(logged: io.StringIO) -> io.StringIO:
    """Where the process logs to."""
    return logged


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_line_with_its_context(stream: io.StringIO) -> None:
    telemetry.bind_request("req_1")
    telemetry.bind_tenant("ten_1")
    structlog.get_logger("app.x").info("order.filled", quantity=3)
    (line,) = lines(stream)
    assert line["event"] == "order.filled"
    assert line["quantity"] == 3
    assert line["level"] == "info"
    assert line["logger"] == "app.x"
    assert line["service"] == "gateway"
    assert line["request_id"] == "req_1"
    assert line["tenant"] == "ten_1"
    assert datetime.fromisoformat(line["timestamp"]).tzinfo is not None


@pytest.mark.parametrize("name", ["uvicorn.error", "celery.worker", "sqlalchemy.pool", "somebody"])
def test_libraries_pass_through_the_same_processors(stream: io.StringIO, name: str) -> None:
    telemetry.bind_request("req_2")
    logging.getLogger(name).warning("lost %s of %d", "redis://:" + CANARY + "@host", 2)
    (line,) = lines(stream)
    assert line["event"] == f"lost redis://:{REDACTED}@host of 2"
    assert line["logger"] == name
    assert line["request_id"] == "req_2"
    assert line["service"] == "gateway"


@pytest.mark.parametrize("name", ["uvicorn", "uvicorn.error", "celery"])
def test_a_library_that_configured_itself_speaks_once(stream: io.StringIO, name: str) -> None:
    logger, own = logging.getLogger(name), io.StringIO()
    logger.addHandler(logging.StreamHandler(own))
    logger.propagate = False
    configure_logging("gateway", level="INFO", stream=stream)
    logger.error("once")
    assert own.getvalue() == ""
    assert [line["event"] for line in lines(stream)] == ["once"]


@pytest.mark.parametrize("name", ["authlib", "kiteconnect", "urllib3"])
def test_libraries_that_print_secrets_at_debug_cannot(stream: io.StringIO, name: str) -> None:
    logging.getLogger(name).debug("token %s", CANARY)
    logging.getLogger(name).info("spoke")
    assert [line["event"] for line in lines(stream)] == ["spoke"]


def test_uvicorn_makes_no_access_line_of_its_own(stream: io.StringIO) -> None:
    """It makes one, for nobody, as soon as its logger has a handler anywhere above."""
    logging.getLogger("uvicorn.access").propagate = True
    configure_logging("gateway", level="DEBUG", stream=stream)
    assert not logging.getLogger("uvicorn.access").hasHandlers()


def test_sqlalchemy_never_prints_statements_with_their_values(stream: io.StringIO) -> None:
    logging.getLogger("sqlalchemy.engine.Engine").info("INSERT %s", CANARY)
    assert lines(stream) == []


def test_the_level_is_the_least_that_speaks(stream: io.StringIO) -> None:
    configure_logging("gateway", level="WARNING", stream=stream)
    structlog.get_logger("app").info("quiet")
    logging.getLogger("other").info("quiet")
    structlog.get_logger("app").warning("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


@pytest.mark.parametrize(
    "fields",
    [
        {"secret": CANARY},
        {"client_secret": CANARY},
        {"access_token": CANARY},
        {"Authorization": CANARY},
        {"x-api-key": f"Bearer {CANARY}"},
        {"api_key": CANARY},
        {"kite_apikey": CANARY},
        {"password": {"inner": [CANARY]}},
        {"headers": {"authorization": CANARY, "accept": "x"}},
        {"rows": [{"deep": {"token": CANARY}}]},
        {"note": f"sk_test_in1_01j_{CANARY}"},
        {"note": f"key sk_live_in1_01j_{CANARY} was used"},
        {"url": f"postgresql://mandi_app:{CANARY}@localhost:5432/mandi"},
        {"url": f"redis://:{CANARY}@localhost"},
        {"url": f"postgresql://u:p@{CANARY}@localhost"},
        {"dsn": f"host=x password={CANARY} user=y"},
        {"target": f"/callback?code=1&access_token={CANARY}&x=1"},
        {"error": ValueError(f"cannot reach redis://:{CANARY}@h")},
        {"seen": {f"sk_test_in1_a_{CANARY}": 1}},
        {"raw": f"Bearer {CANARY}".encode()},
        {"note": f"whsec_{CANARY}"},
        {"error": ValueError(f"violates check\nDETAIL:  Failing row contains (1, {CANARY}, (x)).")},
        {"error": ValueError(f"duplicate key\nDETAIL:  Key (tenant_id, email)=(1, {CANARY}) already exists.")},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_no_secret_reaches_the_log(stream: io.StringIO, fields: dict[str, Any]) -> None:
    structlog.get_logger("app").info("event", **fields)
    logging.getLogger("library").warning("said %s", fields.get("note", ""))
    assert CANARY not in stream.getvalue()
    assert REDACTED in stream.getvalue()


def test_no_secret_reaches_the_log_in_a_traceback(stream: io.StringIO) -> None:
    try:
        raise RuntimeError(f"could not connect to postgresql://mandi_app:{CANARY}@db/mandi")
    except RuntimeError as error:
        structlog.get_logger("app").error("failed", exc_info=error)
        logging.getLogger("library").exception("failed")
    ours, theirs = lines(stream)
    assert "RuntimeError" in ours["exception"]
    assert "RuntimeError" in theirs["exception"]
    assert CANARY not in stream.getvalue()


def test_what_is_no_secret_stays() -> None:
    value = {
        "order": "ord_1",
        "count": 3,
        "ok": True,
        "missing": None,
        "url": "https://example.com/a?b=c@d",
        "n": [1, 2],
    }
    assert redact(value) == value
    assert redact_text("skate_test is no key; a:b@c neither") == "skate_test is no key; a:b@c neither"


def test_a_structure_that_contains_itself_ends() -> None:
    endless: dict[str, Any] = {}
    endless["again"] = endless
    assert REDACTED in str(redact(endless))


def test_people_read_lines_without_json_on_a_local_terminal(stream: io.StringIO) -> None:
    configure_logging("gateway", level="INFO", console=True, stream=stream)
    structlog.get_logger("app").info("hello", secret=CANARY)
    assert "hello" in stream.getvalue()
    assert CANARY not in stream.getvalue()
    with pytest.raises(json.JSONDecodeError):
        lines(stream)


def test_a_line_inside_a_span_names_the_trace(stream: io.StringIO) -> None:
    provider = telemetry.make_tracer_provider("gateway", endpoint=None)
    with provider.get_tracer("t").start_as_current_span("place") as span:
        structlog.get_logger("app").info("inside")
    structlog.get_logger("app").info("outside")
    inside, outside = lines(stream)
    assert inside["trace_id"] == f"{span.get_span_context().trace_id:032x}"
    assert "trace_id" not in outside


def test_a_provider_names_the_service() -> None:
    attributes = telemetry.make_tracer_provider("worker", endpoint=None).resource.attributes
    assert attributes["service.name"] == "mandi-worker"
    assert attributes["service.version"]


SETUP = """
import sys
from app.infra.telemetry import setup_telemetry, tracer
first = setup_telemetry("gateway", endpoint=None, log_level="INFO")
assert setup_telemetry("gateway", endpoint=None, log_level="INFO") is first
with tracer().start_as_current_span("x") as span:
    assert span.get_span_context().is_valid
assert not [m for m in sys.modules if m.startswith("opentelemetry.exporter")], "an exporter was loaded"
assert "requests" not in sys.modules
provider = __import__("app.infra.telemetry").infra.telemetry.make_tracer_provider("x", endpoint="http://127.0.0.1:9/")
assert [m for m in sys.modules if m.startswith("opentelemetry.exporter")]
"""


def test_an_exporter_is_loaded_only_for_an_endpoint() -> None:
    done = subprocess.run([sys.executable, "-c", SETUP], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_a_request_is_counted_and_timed() -> None:
    labels = {"method": "POST", "route": "/v1/counted", "status": "201"}
    before = REGISTRY.get_sample_value("http_requests_total", labels) or 0
    telemetry.observe_request("POST", "/v1/counted", 201, 0.004)
    assert REGISTRY.get_sample_value("http_requests_total", labels) == before + 1
    timed = {"method": "POST", "route": "/v1/counted", "le": "0.005"}
    assert REGISTRY.get_sample_value("http_request_seconds_bucket", timed) == before + 1


def test_orders_work_and_feeds_are_metrics() -> None:
    telemetry.count_order(OrderStatus.FILLED)
    telemetry.set_work_ready("execution", 7)
    telemetry.set_feed_watermark("replay", datetime(2003, 1, 2, 21, tzinfo=UTC))
    text = telemetry.metrics_text().decode()
    assert 'orders_total{status="filled"}' in text
    assert 'work_ready{queue="execution"} 7.0' in text
    watermark = REGISTRY.get_sample_value("feed_watermark_timestamp", {"feed": "replay"})
    assert watermark == datetime(2003, 1, 2, 21, tzinfo=UTC).timestamp()


def test_every_label_of_ours_is_bounded() -> None:
    ours = (telemetry.HTTP_REQUESTS, telemetry.HTTP_SECONDS, telemetry.ORDERS, telemetry.WORK_READY)
    assert {name for metric in (*ours, telemetry.FEED_WATERMARK) for name in metric._labelnames} <= BOUNDED_LABELS


def test_a_caller_cannot_grow_the_number_of_series(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "_routes", set())
    monkeypatch.setattr(telemetry, "_MAX_ROUTES", 3)

    def series() -> int:
        families = text_string_to_metric_families(telemetry.metrics_text().decode())
        return sum(len(family.samples) for family in families if family.name == "http_requests")

    counts = []
    for attempt in range(4):
        for number in range(20):
            telemetry.observe_request(f"VERB{number}", f"/made/up/{attempt}/{number}", 10_000 + number, 0.1)
        counts.append(series())
    assert all(later == earlier for earlier, later in pairwise(counts))


def test_unknown_methods_statuses_and_surplus_routes_become_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "_routes", set())
    monkeypatch.setattr(telemetry, "_MAX_ROUTES", 0)
    telemetry.observe_request("BREW", "/teapot", 9999, 0.1)
    labels = {"method": "other", "route": "other", "status": "other"}
    assert (REGISTRY.get_sample_value("http_requests_total", labels) or 0) >= 1


@pytest.mark.parametrize("status", [200, None])
def test_the_line_of_a_request_says_what_the_processors_would_say(stream: io.StringIO, status: int | None) -> None:
    telemetry.bind_request('sk_test_in1_"x"\\né')
    telemetry.bind_tenant("ten_1")
    with telemetry.make_tracer_provider("test", endpoint=None).get_tracer("x").start_as_current_span("span"):
        log_request(method="GET", route="/v1/é", status=status, ms=1.5)
        structlog.get_logger("app.web.middleware").info("request", method="GET", route="/v1/é", status=status, ms=1.5)
    by_hand, processed = map(json.loads, stream.getvalue().splitlines())
    times = [datetime.fromisoformat(line.pop("timestamp")) for line in (by_hand, processed)]
    assert times[0] <= times[1] < times[0] + timedelta(seconds=5)
    assert by_hand == processed
    assert by_hand["request_id"].startswith("sk_test_[redacted]")
