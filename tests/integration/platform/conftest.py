"""The gateway, served in-process over its real database."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest_asyncio
from asgi_lifespan import LifespanManager
from fastapi import FastAPI

from app.infra.database import Database
from app.infra.settings import Settings
from app.main import create_app
from tests.factories.oauth_scene import Scene, open_scene


@pytest_asyncio.fixture
async def gateway_app(app_settings: Settings) -> AsyncIterator[FastAPI]:
    app = create_app(app_settings)
    async with LifespanManager(app, startup_timeout=30, shutdown_timeout=30):
        yield app


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
