"""The gateway's ASGI app: the only module that knows every route. Run: `uvicorn app.main:app`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI

from app.bootstrap import SERVERS_PATIENCE_S, App, bootstrap, open_people, utc_clock
from app.custody.accounts.routes import account_routes, client_routes
from app.custody.funding.routes import payment_routes
from app.custody.ledger.routes import books_routes
from app.custody.ledger.routes import router as balances
from app.custody.ledger.service import Books, TenantAccounts
from app.infra.buckets import Rate
from app.infra.events.hub import EventHub
from app.infra.heap import keep_what_is_there
from app.infra.keys import deployment_secret, derive_key
from app.infra.process import on_termination
from app.infra.rates import RateStore
from app.infra.settings import Settings, SettingsError, load_settings
from app.infra.telemetry import observe_request, setup_telemetry
from app.infra.waiting import keep_running
from app.infra.work.backlog import Backlog
from app.insight.analytics.routes import router as performance
from app.insight.backtest.routes import router as backtests
from app.insight.research.routes import router as sweeps
from app.market.data.routes import bar_routes
from app.market.data.service import QuoteBoard, market_time
from app.market.instruments.routes import instrument_routes
from app.platform.identity.routes import router as api_keys
from app.platform.identity.service import KeyAuthenticator, TenantKeys
from app.platform.notifications.routes import webhook_routes
from app.platform.oauth.ports import Login
from app.platform.oauth.routes import OAuth
from app.platform.oauth.routes import clients as oauth_clients
from app.platform.oauth.routes import protocol as oauth_protocol
from app.platform.oauth.service import (
    AuthorizationService,
    Authorizing,
    BearerAuthenticator,
    ClientOrigins,
    Endings,
    Keys,
    PeopleLogin,
    Revocations,
    TokenAuthenticator,
    ensure_keys,
)
from app.platform.people.routes import router as people
from app.platform.people.service import InvitationMail
from app.platform.plans.routes import router as plans
from app.platform.plans.service import TenantQuotas
from app.platform.tenancy.ports import Ports
from app.platform.tenancy.routes import tenancy_routes
from app.platform.tenancy.service import Admission
from app.trading.orders.routes import router as orders
from app.trading.orders.service import TenantOrders
from app.trading.orders.service.reading import TenantHoldings
from app.trading.portfolio.routes import reconciliations, statements
from app.trading.portfolio.routes import router as positions
from app.trading.risk.routes import halt_routes, limit_routes
from app.trading.risk.service import TenantHalts
from app.trading.strategies.routes import router as strategies
from app.trading.strategies.service import TenantDeployments
from app.web.catalogue import router as catalogue
from app.web.context import Authenticator, Gateway
from app.web.errors import install_errors
from app.web.event_types import router as event_types
from app.web.events import render
from app.web.events import router as events
from app.web.health import router as health
from app.web.limits import Limiter
from app.web.middleware import RequestBoundary, Surrounded
from app.web.openapi import install_openapi
from app.web.pages import SESSION_COOKIE, Pages
from app.web.routing import RouteIndex, flat
from app.web.sources import SourceBoundary, Sources
from app.web.stream import router as stream
from app.web.transaction import tx_requiring

FEED = "replay"  # the one whose quotes are streamed
DESCRIPTION = """\
Trade, on paper or live, and run strategies through one API.

**Keys** go into `Authorization: Bearer sk_test_in1_…`. **Ids** are prefixed and sort by age (`ord_…`). **Numbers** that
count money, prices or quantities are decimal strings. **Times** are RFC 3339, UTC. **Lists** are newest first; follow
them with `starting_after`. **Errors** are problem documents (RFC 9457) whose `code` is stable and whose `detail` says
what to do (`/errors` lists all); another tenant's id is a 404. Every answer carries a `Request-Id`. **Events** say what
happened (`/events` lists all types). **Repeat** a `POST` safely with an `Idempotency-Key`; send an object's `ETag` as
`If-Match` to change what you have seen.
"""
TEMPLATES = tuple(
    Path(__file__).parent / folder / "templates" for folder in ("web", "platform/people", "platform/oauth")
)
TAGS = [
    {"name": "Tenant", "description": "Who you are here, who works for you, what takes two people."},
    {"name": "API keys", "description": "Credentials with scopes."},
    {"name": "Clients", "description": "Your end customers."},
    {"name": "OAuth clients", "description": "Applications that get tokens by OAuth 2.1."},
    {"name": "Accounts", "description": "Accounts, balances, the ledger."},
    {"name": "Payments", "description": "Deposits and withdrawals."},
    {"name": "Custody", "description": "The ledger's transactions, segregation of client money, breaks."},
    {"name": "Market data", "description": "Instruments and bars."},
    {"name": "Orders", "description": "Orders and fills."},
    {"name": "Risk", "description": "What an account's orders may at most do."},
    {"name": "Portfolio", "description": "Positions."},
    {"name": "Strategies", "description": "Strategies and their deployments."},
    {"name": "Backtests", "description": "What a strategy would have done."},
    {"name": "Sweeps", "description": "Searches over a strategy's parameters."},
    {"name": "Performance", "description": "What it earned, and at which risk."},
    {"name": "Events", "description": "What happened, in order."},
    {"name": "Webhooks", "description": "Events, sent to you."},
]


def _routers(settings: Settings) -> list[APIRouter]:
    market = (
        instrument_routes(tx_requiring("instruments:read"), utc_clock),
        bar_routes(tx_requiring("bars:read"), utc_clock, settings.data_dir),
    )
    risk = (*limit_routes(TenantDeployments()), halt_routes(TenantOrders()))
    trading = (orders, *risk, positions, statements, reconciliations, strategies, performance, backtests, sweeps)
    return [
        *trading,
        health,
        catalogue,
        event_types,
        *tenancy_routes(),
        plans,
        api_keys,
        client_routes(),
        people,
        oauth_clients,
        oauth_protocol,
        account_routes(Books(), market_time),
        balances,
        *books_routes(),
        *payment_routes(),
        *market,
        events,
        stream,
        webhook_routes(loopback=settings.environment == "local"),
    ]  # tried in turn


def _bounds(settings: Settings) -> dict[str, timedelta]:
    """How long work of a queue may wait before its tenant gets no more in."""
    orders, backtests = settings.order_backlog_s, settings.backtest_backlog_s
    return {"execution": timedelta(seconds=orders), "backtests": timedelta(seconds=backtests)}


async def _open_oauth(process: App, login: Login, revocations: Revocations) -> tuple[OAuth, TokenAuthenticator] | None:
    """The authorization server, where an issuer is set. Raises `SettingsError` where nobody keeps its keys."""
    settings = process.settings
    if settings.issuer is None:
        return None
    if settings.environment == "production" and settings.kms_key_arn is None:
        raise SettingsError("MANDI_ISSUER: takes MANDI_KMS_KEY_ARN in production, which protects the signing keys")
    database, sealer = process.database, process.sealer.platform
    await ensure_keys(database.reference, sealer, now=process.clock())
    keys = Keys(database.pool, sealer)
    tokens = TokenAuthenticator(keys, revocations, issuer=settings.issuer)
    server = AuthorizationService(database, keys, revocations, tokens, issuer=settings.issuer, login=login)
    authorizing = Authorizing(server, proof_key=derive_key(deployment_secret(settings), "oauth/consent"))
    return OAuth(server, authorizing, revocations), tokens


@asynccontextmanager
async def _open(app: FastAPI, settings: Settings, origins: ClientOrigins, login: Login | None) -> AsyncIterator[None]:
    """Everything that requests reach through `app.state`, and what runs beside them."""
    async with bootstrap(settings, patience_s=SERVERS_PATIENCE_S) as process, AsyncExitStack() as opening:
        database, revocations = process.database, Revocations(process.redis)
        endings = Endings(revocations)
        people_process = await opening.enter_async_context(open_people(process, endings))
        keys = KeyAuthenticator(database, cell=settings.cell)
        hub = EventHub(database, process.redis, render=render)
        board = QuoteBoard(database.pool, process.stream, FEED)
        rates, quotas = RateStore(process.redis, processes=settings.gateway_processes), TenantQuotas(database)
        backlog = Backlog(database.dispatch, _bounds(settings))
        pages = Pages(*TEMPLATES, key=people_process.form_key, secure=settings.public_url.startswith("https://"))
        cookie = pages.cookie_name(SESSION_COOKIE)
        doors = login or PeopleLogin(people_process.people, cookie=cookie, clock=process.clock)
        authenticator: Authenticator = keys
        app.state.oauth = None
        if (opened := await _open_oauth(process, doors, revocations)) is not None:
            app.state.oauth, tokens = opened
            authenticator = BearerAuthenticator(keys, tokens)
        app.state.app, app.state.people, app.state.pages = process, people_process.people, pages
        app.state.tenancy = Ports(
            InvitationMail(people_process.people),
            TenantKeys(),
            endings,
            TenantHoldings(),
            TenantAccounts(),
            TenantHalts(),
        )
        app.state.gateway = Gateway(
            database=database,
            redis=process.redis,
            authenticator=authenticator,
            admission=Admission(database, quotas),
            origins=origins,
            cell=settings.cell,
            clock=process.clock,
            hub=hub,
            quotes=board,
            limiter=Limiter(rates, quotas),
            sources=Sources(rates, Rate(settings.anonymous_calls_per_minute, 60)),
            backlog=backlog,
        )
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        bodies = [keys.run, rates.run, quotas.run, people_process.sender.run, revocations.run, backlog.run]
        background = [asyncio.create_task(keep_running(run, stop)) for run in bodies]
        listening = [asyncio.create_task(keep_running(run, stop)) for run in (hub.run, board.run)]
        try:
            with on_termination(partial(loop.call_soon_threadsafe, hub.close)):
                yield
        finally:
            hub.close()
            stop.set()
            for task in listening:  # they hold nothing that must be finished, and a read in progress is half a second
                task.cancel()
            await asyncio.gather(*background)
            await asyncio.gather(*listening, return_exceptions=True)


def create_app(settings: Settings | None = None, *, login: Login | None = None) -> FastAPI:
    """The gateway for `settings`, by default the environment's. Raises `SettingsError`.

    `login`: where people sign in, by default with us.
    """
    used = settings or load_settings()
    origins = ClientOrigins(lambda: app.state.app.database)
    app = Surrounded(
        title="Mandi",
        version="1",
        summary="A trading platform as an API.",
        description=DESCRIPTION,
        openapi_tags=TAGS,
        redoc_url=None,
        lifespan=lambda app: _open(app, used, origins, login),
        # `infra.telemetry` owns providers and logs; a span for each dependency would cost more than the dependencies
        telemetry={
            "auto_configure": False,
            "logs": False,
            "metrics": False,
            "operation_spans": False,
            "tracing": used.otel_endpoint is not None,
        },
    )
    app.router.routes.extend(flat(_routers(used)))
    install_errors(app)
    install_openapi(app)
    app.add_middleware(RouteIndex, router=app.router)
    app.add_middleware(SourceBoundary)
    app.add_middleware(RequestBoundary, observe=observe_request, origins=origins)
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
    served = create_app(settings)
    keep_what_is_there()
    return served
