"""Tenants that were there before there were plans: the migration counts what they have."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

from alembic import command
from alembic.script import ScriptDirectory

from app.custody.accounts.domain import NewAccount
from app.custody.accounts.service import create_account
from app.custody.ledger.service import Books
from app.infra import migrate, roles
from app.infra.database import open_database
from app.infra.settings import Settings
from app.kernel.ids import uuid7
from app.kernel.money import Money
from app.platform.identity.service import revoke_key
from app.platform.plans.domain import QuotaName
from app.platform.plans.service import entitlements
from tests.factories.tenants import make_key, make_tenant

NOW = datetime(2026, 1, 31, 9, 15, tzinfo=UTC)


async def _settle(settings: Settings) -> UUID:
    """A tenant with two accounts, two keys and a revoked one."""
    database = await open_database(settings, on_commit=lambda queue, shard: None)
    tenant = await make_tenant(database)
    await make_key(database, tenant.tenant_id)
    revoked = await make_key(database, tenant.tenant_id)
    async with database.tx(tenant.tenant_id) as tx:
        await revoke_key(tx, revoked.key_row, now=NOW)
        for name in ("one", "two"):
            asked = NewAccount(name=name, currency="USD", opening_balance=Money(100_00, "USD"))
            await create_account(tx, asked, books=Books(), now=NOW)
    await database.close()
    return tenant.tenant_id


async def _used(settings: Settings, tenant_id: UUID) -> dict[QuotaName, int]:
    database = await open_database(settings, on_commit=lambda queue, shard: None)
    async with database.tx(tenant_id) as tx:
        found = dict((await entitlements(tx)).used)
    await database.close()
    return found


def test_what_a_tenant_had_before_is_counted(app_settings: Settings, database_urls: dict[str, str]) -> None:
    passwords = {role: url.split(":", 2)[2].rpartition("@")[0] for role, url in database_urls.items()}
    del passwords["admin"]
    name = f"scratch_{uuid7().hex[-8:]}"
    asyncio.run(roles.ensure_roles(database_urls["admin"], passwords, database=name))
    urls = {role: roles.with_database(url, name) for role, url in database_urls.items()}
    settings = Settings.model_validate(
        {
            "APP_DATABASE_URL": urls["mandi_app"],
            "DISPATCH_DATABASE_URL": urls["mandi_dispatch"],
            "REFERENCE_DATABASE_URL": urls["mandi_reference"],
            "REDIS_URL": app_settings.redis_url,
            "MANDI_DATA_DIR": app_settings.data_dir,
        }
    )
    owner = urls["mandi_migrate"]
    migrate.migrate(owner)
    tenant_id = asyncio.run(_settle(settings))
    lived = asyncio.run(_used(settings, tenant_id))
    config = migrate.alembic_config(owner)
    before = ScriptDirectory.from_config(config).get_revision("0008").down_revision
    assert isinstance(before, str)
    command.downgrade(config, before)
    migrate.migrate(owner)
    counted = asyncio.run(_used(settings, tenant_id))
    assert lived == {QuotaName.ACCOUNTS: 2, QuotaName.API_KEYS: 2}
    assert counted == {**lived, QuotaName.DEPLOYMENTS: 0}
