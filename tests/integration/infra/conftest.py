"""Fresh tenants, and the ways that tests read what the database holds."""

from uuid import UUID

import pytest_asyncio

from app.infra.database import Database
from app.kernel.ids import uuid7
from app.platform.tenancy.tables import Tenant


@pytest_asyncio.fixture
async def tenant_id(database: Database) -> UUID:
    """A tenant of this test's own."""
    made = uuid7()
    async with database.tx(made) as tx:
        tx.add(Tenant(tenant_id=made, id=made, slug=f"t-{made.hex}", name="T"))
    return made
