"""`/livez`, `/readyz`, `/metrics`: for probes and scrapers. The ingress publishes only `/v1` and the documentation."""

import asyncio
from collections.abc import Awaitable
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from app.infra.telemetry import METRICS_TYPE, metrics_text
from app.web.context import gateway_of, request_id_of
from app.web.errors import problem

PROBE_SECONDS = 2.0
router = APIRouter(include_in_schema=False)


@router.get("/livez")
async def live() -> dict[str, str]:
    """The process answers. Says nothing of what it depends on: a restart would not mend that."""
    return {"status": "alive"}


@router.get("/readyz")
async def ready(request: Request) -> JSONResponse:
    """200 when the database answers within two seconds, else 503; either way names what is down.

    Without Redis the gateway is `degraded`, not unready: orders are rows, and a wake-up is only sooner than the poll.
    Taking every gateway out of service would turn a slow minute into an outage.
    """
    gateway = gateway_of(request)
    states = await asyncio.gather(
        _state(gateway.database.pool.fetchval("select 1")),
        _state(gateway.redis.ping()),
    )
    checks = dict(zip(("database", "redis"), states, strict=True))
    if checks["database"] != "ok":
        said = ", ".join(f"{name} ({state})" for name, state in checks.items() if state != "ok")
        return problem(503, "not_ready", f"Not reachable: {said}.", request_id=request_id_of(request))
    status = "ready" if checks["redis"] == "ok" else "degraded"
    return JSONResponse({"status": status, "checks": checks})


async def _state(probe: Awaitable[Any]) -> str:
    """`ok`, or the kind of failure; its text stays inside, since it names hosts."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await probe
    except Exception as error:
        return type(error).__name__
    return "ok"


@router.get("/metrics")
async def metrics() -> Response:
    """Prometheus' text format."""
    return Response(metrics_text(), headers={"Content-Type": METRICS_TYPE})
