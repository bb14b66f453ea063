"""The demo tenant: made whole at the first seed, left alone by the next, its key remade when it is lost."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from app.infra.database import Database
from app.infra.settings import Settings
from app.local.demo import FUNDING, INSTRUMENTS, STRATEGIES, TENANT, seed_demo
from app.local.home import Credentials
from app.platform.identity.service import KeyAuthenticator

pytestmark = pytest.mark.integration


@pytest.fixture
def environ(app_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, field in Settings.model_fields.items():
        value = getattr(app_settings, name)
        if value is not None and field.alias:
            shown = value.get_secret_value() if hasattr(value, "get_secret_value") else value
            monkeypatch.setenv(field.alias, str(shown))


async def rows(database: Database, sql: str) -> list[Any]:
    async with database.pool.acquire() as connection, connection.transaction():
        await connection.execute("select set_config('app.tenant_id', $1, true)", str(TENANT))
        found: list[Any] = await connection.fetch(sql)
        return found


async def everything(database: Database) -> dict[str, list[Any]]:
    tables = ("tenants", "accounts", "strategies", "deployments", "ledger_entries", "api_keys")
    return {table: await rows(database, f"select * from {table} order by 1, 2") for table in tables}


@pytest.mark.usefixtures("environ")
async def test_a_second_seed_changes_nothing_and_keeps_the_key(database: Database) -> None:
    made = await seed_demo(None)
    before = await everything(database)
    assert len(before["accounts"]) == len(before["deployments"]) == len(before["strategies"]) == len(STRATEGIES)
    assert {len(row["instruments"]) for row in before["deployments"]} == {len(INSTRUMENTS)}
    assert {row["name"] for row in before["strategies"]} == {"momentum", "mean_reversion"}
    cash = await rows(database, "select posted from ledger_accounts where kind = 'client_cash'")
    assert [row["posted"] for row in cash] == [FUNDING.minor] * 2
    assert await seed_demo(made) == made
    assert await everything(database) == before


@pytest.mark.usefixtures("environ")
async def test_a_lost_or_foreign_key_is_replaced_by_one_that_works(database: Database, app_settings: Settings) -> None:
    made = await seed_demo(None)
    stranger = Credentials("00000000-0000-7000-8000-000000000001", made.api_key)
    for known in (None, stranger, replace(made, api_key=made.api_key[:-1] + "?")):
        again = await seed_demo(known)
        assert again.api_key != made.api_key
        assert UUID(again.tenant_id) == TENANT
        authenticator = KeyAuthenticator(database, cell=app_settings.cell)
        principal = await authenticator.authenticate(again.api_key, now=datetime.now(UTC))
        assert principal.tenant_id == TENANT
        assert "orders:write" in principal.scopes
