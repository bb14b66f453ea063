"""A gateway with a login, a tenant, its client and a member who signed in: where the tests of grants begin."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from sqlalchemy import text

from app.infra.database import Database
from app.infra.settings import Settings
from app.main import create_app
from app.platform.oauth.domain import AuthMethod, GrantType
from app.platform.oauth.service import IssuedClient
from tests.factories.oauth import CALLBACK, Browser, Door, asking, bearer, make_client, query_of, redeem
from tests.factories.tenants import make_tenant

HELD = frozenset({"orders:read", "tenant:read"})


@dataclass
class Scene:
    """A gateway with a login; a tenant, its client and a member who signed in."""

    app: FastAPI
    http: httpx.AsyncClient
    database: Database
    door: Door
    tenant_id: UUID
    client: IssuedClient
    browser: Browser

    @property
    def user_id(self) -> UUID:
        return self.door.sessions[self.browser.cookie or ""].user_id

    async def another_client(self, method: AuthMethod = AuthMethod.NONE) -> IssuedClient:
        return await make_client(
            self.database,
            self.tenant_id,
            method=method,
            grants=(GrantType.CODE, GrantType.REFRESH),
            scopes=("openid", "email", "orders:read", "orders:write", "tenant:read"),
            redirect_uris=(CALLBACK, "com.example.app:/cb"),
        )

    async def code(self, client: IssuedClient | None = None, **params: str | None) -> str:
        """A code, after the person has allowed what the client asks."""
        page = await self.browser.open(**asking(client or self.client, **params))
        answer = page if page.status_code == 303 else await self.browser.answer(page)
        assert answer.status_code == 303, answer.text
        return query_of(answer.headers["Location"])["code"]

    async def tokens(self, client: IssuedClient | None = None, **params: str | None) -> dict[str, Any]:
        answer = await redeem(self.http, client or self.client, await self.code(client, **params))
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def opens(self, token: str) -> int:
        return (await self.http.get("/v1/orders", headers=bearer(token))).status_code

    async def age(self, table: str, column: str, seconds: float) -> None:
        """Let time pass for the tenant's rows of `table`."""
        async with self.database.tx(self.tenant_id) as tx:
            await tx.execute(
                text(f"update {table} set {column} = {column} - make_interval(secs => :s)"), {"s": seconds}
            )


@asynccontextmanager
async def open_scene(app_settings: Settings, database: Database) -> AsyncIterator[Scene]:
    door = Door()
    app = create_app(app_settings, login=door)
    async with (
        LifespanManager(app, startup_timeout=30, shutdown_timeout=30),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gateway") as http,
    ):
        tenant = await make_tenant(database)
        browser = Browser(http, await door.sign_in(database, tenant.tenant_id, permissions=HELD))
        made = Scene(app, http, database, door, tenant.tenant_id, None, browser)  # type: ignore[arg-type]
        made.client = await made.another_client(AuthMethod.BASIC)
        yield made
