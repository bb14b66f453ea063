"""The gateway's ASGI app: the only module that knows every route. Run: `uvicorn app.main:app`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, Depends, FastAPI

from app.bootstrap import bootstrap, utc_clock
from app.custody.accounts.routes import account_routes
from app.custody.ledger.routes import router as balances
from app.custody.ledger.service import Books
from app.infra.settings import Settings, load_settings
from app.infra.telemetry import observe_request, setup_telemetry
from app.insight.analytics.routes import router as performance
from app.insight.backtest.routes import router as backtests
from app.insight.research.routes import router as sweeps
from app.market.data.routes import bar_routes
from app.market.data.service import market_time
from app.market.instruments.routes import instrument_routes
from app.platform.identity.routes import router as api_keys
from app.platform.identity.service import KeyAuthenticator
from app.platform.tenancy.routes import router as tenancy
from app.trading.orders.routes import router as orders
from app.trading.portfolio.routes import router as positions
from app.trading.risk.routes import router as risk
from app.trading.strategies.routes import router as strategies
from app.web.catalogue import router as catalogue
from app.web.context import Gateway
from app.web.cors import NoOrigins
from app.web.errors import install_errors
from app.web.events import router as events
from app.web.health import router as health
from app.web.middleware import RequestBoundary
from app.web.openapi import install_openapi
from app.web.queries import refuse_unknown_query
from app.web.transaction import tx_requiring

DESCRIPTION = """\
Trade, on paper or live, and run strategies through one API.

**Keys** go into `Authorization: Bearer sk_test_in1_…`. **Ids** are prefixed and sort by age (`ord_…`). **Numbers** that
count money, prices or quantities are decimal strings. **Times** are RFC 3339, UTC. **Lists** are newest first; follow
them with `starting_after`. **Errors** are problem documents (RFC 9457) whose `code` is stable and whose `detail` says
what to do (`/errors` lists all); another tenant's id is a 404. Every answer carries a `Request-Id`. **Repeat** a `POST`
safely with an `Idempotency-Key`; send an object's `ETag` as `If-Match` to change what you have seen.
"""
TAGS = [
    {"name": "Tenant", "description": "Who you are here."},
    {"name": "API keys", "description": "Credentials with scopes."},
    {"name": "Accounts", "description": "Accounts, balances, the ledger."},
    {"name": "Market data", "description": "Instruments and bars."},
    {"name": "Orders", "description": "Orders and fills."},
    {"name": "Risk", "description": "What an account's orders may at most do."},
    {"name": "Portfolio", "description": "Positions."},
    {"name": "Strategies", "description": "Strategies and their deployments."},
    {"name": "Backtests", "description": "What a strategy would have done."},
    {"name": "Sweeps", "description": "Searches over a strategy's parameters."},
    {"name": "Performance", "description": "What it earned, and at which risk."},
    {"name": "Events", "description": "What happened, in order."},
]


def _routers(settings: Settings) -> list[APIRouter]:
    market = (
        instrument_routes(tx_requiring("instruments:read"), utc_clock),
        bar_routes(tx_requiring("bars:read"), utc_clock, settings.data_dir),
    )
    trading = (orders, risk, positions, strategies, performance, backtests, sweeps)
    return [
        *trading,
        health,
        catalogue,
        tenancy,
        api_keys,
        account_routes(Books(), market_time),
        balances,
        *market,
        events,
    ]  # tried in turn


def create_app(settings: Settings | None = None) -> FastAPI:
    """The gateway for `settings`, by default the environment's. Raises `SettingsError`."""
    used = settings or load_settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with bootstrap(used) as process:
            authenticator = KeyAuthenticator(process.database, cell=used.cell)
            app.state.app = process
            app.state.gateway = Gateway(process.database, process.redis, authenticator, used.cell, process.clock)
            stop = asyncio.Event()
            background = asyncio.create_task(authenticator.run(stop))
            try:
                yield
            finally:
                stop.set()
                await background

    app = FastAPI(
        title="Mandi",
        version="1",
        summary="A trading platform as an API.",
        description=DESCRIPTION,
        openapi_tags=TAGS,
        redoc_url=None,
        lifespan=lifespan,
        dependencies=[Depends(refuse_unknown_query)],
        # `infra.telemetry` owns providers and logs; a span for each dependency would cost more than the dependencies
        telemetry={"auto_configure": False, "logs": False, "metrics": False, "operation_spans": False},
    )
    for router in _routers(used):
        app.include_router(router)
    install_errors(app)
    install_openapi(app)
    app.add_middleware(RequestBoundary, observe=observe_request, origins=NoOrigins())
    return app


def __getattr__(name: str) -> Any:
    """`app`, made when the server asks for it: importing this module reads no settings."""
    if name != "app":
        raise AttributeError(name)
    settings = load_settings()
    setup_telemetry(
        "gateway",
        endpoint=settings.otel_endpoint,
        log_level=settings.log_level,
        environment=settings.environment,
    )
    return create_app(settings)
