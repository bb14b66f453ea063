"""What has run out is removed, for every tenant and person, and nothing that still means something."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from app.bootstrap import App
from app.infra.clearing import Outdated, clear
from app.kernel.ids import uuid7
from app.platform.oauth.domain import AuthMethod, GrantType
from app.platform.tenancy.service import create_invitation, create_tenant
from tests.factories.oauth import CALLBACK, make_client
from tests.integration.platform.conftest import now
from tests.integration.platform.test_invitations import Letters
from workers.daemon import outdated

pytestmark = pytest.mark.asyncio


async def _rows(app: App, tenant_id: UUID, statement: str, *arguments: object) -> Sequence[asyncpg.Record]:
    async with app.database.pool.acquire() as connection, connection.transaction():
        await connection.execute("select set_config('app.tenant_id', $1, true)", str(tenant_id))
        rows: Sequence[asyncpg.Record] = await connection.fetch(statement, *arguments)
        return rows


class Grants:
    """Grants, codes and refresh tokens of a client, of any age."""

    def __init__(self, app: App, tenant_id: UUID, client_ref: UUID) -> None:
        self.app, self.tenant_id, self.client_ref = app, tenant_id, client_ref

    async def grant(self, age: timedelta, *, revoked: timedelta | None = None) -> UUID:
        grant_id, at = uuid7(), now()
        await self._insert(
            "oauth_grants (tenant_id, id, client_ref, user_id, session_id, scopes, auth_time, created_at, revoked_at)"
            " values ($1, $2, $3, $2, 's', '{}', $4, $4, $5)",
            grant_id, self.client_ref, at - age, None if revoked is None else at - revoked,
        )  # fmt: skip
        return grant_id

    async def refresh(self, grant_id: UUID, expires: timedelta, *, used: bool = False) -> UUID:
        token_id, at = uuid7(), now()
        await self._insert(
            "oauth_refresh_tokens (tenant_id, id, token_hash, grant_id, issued_at, expires_at, used_at)"
            " values ($1, $2, decode(repeat('ab', 16), 'hex') || uuid_send($2), $3, $4, $5, $6)",
            token_id, grant_id, at, at + expires, at if used else None,
        )  # fmt: skip
        return token_id

    async def code(self, grant_id: UUID | None, expires: timedelta) -> UUID:
        code_id, at = uuid7(), now()
        await self._insert(
            "oauth_codes (tenant_id, id, code_hash, client_ref, user_id, session_id, redirect_uri, scopes,"
            " code_challenge, auth_time, amr, expires_at, grant_id)"
            " values ($1, $2, uuid_send($2), $3, $2, 's', 'https://a.example', '{}', 'c', $4, '{}', $4, $5)",
            code_id, self.client_ref, at + expires, grant_id,
        )  # fmt: skip
        return code_id

    async def _insert(self, rest: str, *values: object) -> None:
        await _rows(self.app, self.tenant_id, f"insert into {rest}", self.tenant_id, *values)

    async def left(self, table: str) -> set[UUID]:
        return {row["id"] for row in await _rows(self.app, self.tenant_id, f"select id from {table}")}


async def _grants(app: App) -> Grants:
    tenant_id = await create_tenant(app.database, slug="clearing", name="Clearing")
    client = await make_client(
        app.database,
        tenant_id,
        method=AuthMethod.NONE,
        grants=(GrantType.CODE, GrantType.REFRESH),
        redirect_uris=(CALLBACK,),
    )
    return Grants(app, tenant_id, client.row.id)


DAY = timedelta(days=1)


async def test_grants_go_after_their_codes_and_tokens_and_consents_stay_for_a_year(app: App) -> None:
    both = [await _grants(app) for _ in range(2)]
    kept: list[set[UUID]] = []
    for made in both:
        old = await made.grant(500 * DAY)
        await made.refresh(old, -2 * DAY)
        await made.code(old, -2 * DAY)
        await made.grant(500 * DAY, revoked=401 * DAY)
        await made.code(None, -2 * DAY)
        alive = await made.grant(500 * DAY)
        token = await made.refresh(alive, 3 * DAY, used=True)  # used: must be known when it comes again
        code = await made.code(None, timedelta(seconds=30))
        consent, ended = await made.grant(300 * DAY), await made.grant(500 * DAY, revoked=300 * DAY)
        kept += [{alive, consent, ended}, {token}, {code}]
    await clear(app.database.dispatch, outdated(), now=now())
    tables = ("oauth_grants", "oauth_refresh_tokens", "oauth_codes")
    assert [await made.left(table) for made in both for table in tables] == kept


async def test_more_rows_than_a_batch_go_in_one_turn(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.infra import clearing

    monkeypatch.setattr(clearing, "BATCH", 2)
    made = await _grants(app)
    for _ in range(5):
        await made.code(None, -2 * DAY)
    done = await clear(app.database.dispatch, outdated(), now=now())
    assert done["oauth_codes"] >= 5
    assert await made.left("oauth_codes") == set()


async def test_a_batch_is_planned_for_what_it_is_and_nothing_else_is(app: App) -> None:
    mode = "current_setting('plan_cache_mode') = 'force_custom_plan'"
    statement = f"DELETE FROM oauth_codes WHERE expires_at <= $1 AND $2 > 0 AND {mode}"
    made = await _grants(app)
    await made.code(None, -2 * DAY)
    await clear(app.database.dispatch, [Outdated("oauth_codes", statement, kept=DAY)], now=now())
    assert await made.left("oauth_codes") == set()
    assert await app.database.dispatch.fetchval(f"select not {mode}")


async def test_an_invitation_stays_a_season_beyond_its_time(app: App) -> None:
    tenant_id = await create_tenant(app.database, slug="clearing", name="Clearing")
    for email, age in (("old@example.com", 98), ("late@example.com", 96)):
        async with app.database.tx(tenant_id) as tx:
            at = now() - age * DAY
            await create_invitation(tx, email=email, role="trader", inviter=Letters(), now=at)
    await clear(app.database.dispatch, outdated(), now=now())
    rows = await _rows(app, tenant_id, "select email from invitations")
    assert [row["email"] for row in rows] == ["late@example.com"]


async def test_deliveries_go_a_month_after_they_ended_and_not_while_they_are_tried(app: App) -> None:
    tenant_id, at = await create_tenant(app.database, slug="clearing", name="Clearing"), now()
    endpoint = uuid7()
    await _rows(
        app, tenant_id,
        "insert into webhook_endpoints (tenant_id, id, url, event_types, secret, status, api_version, position)"
        " values ($1, $2, 'https://a.example', '{}', 'x', 'enabled', '1', 0)",
        tenant_id, endpoint,
    )  # fmt: skip
    ages: dict[UUID, datetime | None] = {uuid7(): at - 31 * DAY, uuid7(): at - 29 * DAY, uuid7(): None}
    for delivery, finished in ages.items():
        await _rows(
            app, tenant_id,
            "insert into webhook_deliveries (tenant_id, id, endpoint_id, event_id, event_type, status, attempts,"
            " created_at, finished_at) values ($1, $2, $3, $2, 'order.filled', $4, 1, $5, $6)",
            tenant_id, delivery, endpoint, "pending" if finished is None else "failed", at - 40 * DAY, finished,
        )  # fmt: skip
    await clear(app.database.dispatch, outdated(), now=at)
    left = {row["id"] for row in await _rows(app, tenant_id, "select id from webhook_deliveries")}
    assert left == set(list(ages)[1:])


async def test_logins_links_and_sign_ups_go_when_nothing_rests_on_them(app: App) -> None:
    at, hour = now(), timedelta(hours=1)
    spans = {"login_sessions": 90 * DAY, "mail_tokens": DAY, "sign_ups": 3 * DAY}
    old, late = uuid7(), uuid7()
    for person, more in ((old, hour), (late, -hour)):
        async with app.database.pool.acquire() as connection, connection.transaction():
            await connection.execute("select set_config('app.user_id', $1, true)", str(person))
            await connection.execute(_USER, person, at, f"{person.hex}@example.com")
            for name, kept in spans.items():
                await connection.execute(_PERSONAL[name], person, at - kept - more, person.bytes * 2)
    await clear(app.database.dispatch, outdated(), now=at)
    for person, left in ((old, 0), (late, 1)):
        async with app.database.pool.acquire() as connection, connection.transaction():
            await connection.execute("select set_config('app.user_id', $1, true)", str(person))
            counts = {name: await connection.fetchval(f"select count(*) from {name}") for name in spans}
        assert counts == dict.fromkeys(spans, left)


_USER = """
insert into users (id, email, password_hash, email_verified_at, password_changed_at, status, created_at)
values ($1, $3, 'x', $2, $2, 'active', $2)
"""
_PERSONAL = {
    "login_sessions": "insert into login_sessions (id, user_id, token_hash, pending, auth_time, amr, last_seen_at,"
    " expires_at, created_at) values (gen_random_uuid(), $1, $3, false, $2, '{}', $2, $2, $2)",
    "mail_tokens": "insert into mail_tokens (id, user_id, purpose, token_hash, expires_at, created_at)"
    " values (gen_random_uuid(), $1, 'sign_up', $3, $2, $2)",
    "sign_ups": "insert into sign_ups (id, email, password_hash, created_at) values ($1, encode($3, 'hex'), 'x', $2)",
}


async def test_a_table_that_cannot_be_cleared_stops_no_other(app: App) -> None:
    made = await _grants(app)
    await made.code(None, -2 * DAY)
    broken = Outdated("users", "DELETE FROM users WHERE created_at <= $1 AND $2 > 0", kept=DAY)
    await clear(app.database.dispatch, [broken, *outdated()], now=now())
    assert await made.left("oauth_codes") == set()


async def test_dispatch_reads_of_cleared_rows_only_what_says_when_they_end(app: App) -> None:
    for column, table in (
        ("code_hash", "oauth_codes"),
        ("token_hash", "oauth_refresh_tokens"),
        ("user_id", "oauth_grants"),
        ("email", "invitations"),
        ("response_body", "webhook_deliveries"),
        ("token_hash", "login_sessions"),
        ("user_id", "mail_tokens"),
        ("password_hash", "sign_ups"),
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.database.dispatch.fetch(f"select {column} from {table} limit 1")
