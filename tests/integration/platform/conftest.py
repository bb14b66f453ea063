"""The gateway, served in-process over its real database."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from app.infra.database import Database
from app.infra.events.follower import run_follower
from app.infra.settings import Settings
from app.main import create_app
from app.web import events, stream
from tests.factories.gateway import serving
from tests.factories.oauth_scene import Scene, open_scene
from tests.factories.streams import Served


@pytest_asyncio.fixture
async def scene(app_settings: Settings, database: Database) -> AsyncIterator[Scene]:
    async with open_scene(app_settings, database) as opened:
        yield opened


@pytest_asyncio.fixture
async def client(gateway_app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=gateway_app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


def now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


@pytest_asyncio.fixture
async def served(app_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.3)
    monkeypatch.setattr(stream, "CHECK_SECONDS", 0.5)
    app = create_app(app_settings)
    async with serving(app) as url:
        process, stop = app.state.app, asyncio.Event()
        following = asyncio.create_task(run_follower(process.database.dispatch, process.redis, stop=stop))
        yield Served(url, app)
        stop.set()
        await following
