"""What people keep apart beside their rows, which `tests/integration/isolation` attacks: mail, lookups, tenants."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import text

from app.infra.settings import Settings
from app.kernel.ids import uuid7
from app.platform.people import service
from app.platform.people.service import People
from app.platform.people.tables import MailToken
from tests.factories.people import Somebody, fresh_email, fresh_password, make_person
from tests.integration.isolation.catalogue import PERSON_TABLES
from tests.integration.people.test_accounts import log_in, visitor
from tests.integration.people.test_second_factor import enrol

pytestmark = pytest.mark.asyncio
READABLE = sorted(PERSON_TABLES.keys() - {"mail_requests"})


@pytest_asyncio.fixture
async def attacker(app_settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(app_settings.app_database_url.get_secret_value())
    yield connection
    await connection.close()


async def with_rows(people: People) -> Somebody:
    """A person with a row in each table but `sign_ups`, whose rows are nobody's yet."""
    who = await make_person(people)
    await enrol(people, who)
    await log_in(people, who)
    at = datetime.now(UTC)
    async with people.database.person(who.person.id) as tx:
        tx.add(
            MailToken(
                user_id=who.person.id, purpose="sign_up", token_hash=uuid7().bytes * 2, expires_at=at, created_at=at
            )
        )
    async with people.database.person(who.person.id) as tx:
        await tx.execute(
            text("insert into sign_ups (id, email, password_hash, created_at) values (:id, :email, 'x', now())"),
            {"id": who.person.id, "email": who.email},
        )
    return who


async def test_requests_for_mail_are_written_by_all_and_read_by_none_but_the_sender(
    people: People, attacker: asyncpg.Connection
) -> None:
    email = fresh_email()
    await service.sign_up(people, email=email, password=fresh_password(), visitor=visitor(), now=datetime.now(UTC))
    for statement in (
        "select 1 from mail_requests",
        "delete from mail_requests",
        "update mail_requests set attempts = 0",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await attacker.execute(statement)
    found = await people.database.dispatch.fetch("select user_id from mail_requests where email = $1", email)
    assert len(found) == 1
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await people.database.dispatch.fetch("select * from users")


async def test_a_tenants_transaction_sees_no_person_and_a_persons_no_tenant(people: People) -> None:
    from tests.factories.tenants import make_tenant

    who, tenant = await with_rows(people), await make_tenant(people.database)
    async with people.database.tx(tenant.tenant_id) as tx:
        for table in READABLE:
            assert (await tx.execute(text(f"select count(*) from {table}"))).scalar_one() == 0
    async with people.database.person(who.person.id) as person_tx:
        for table in ("tenants", "api_keys", "members", "events"):
            assert (await person_tx.execute(text(f"select count(*) from {table}"))).scalar_one() == 0


@pytest.mark.parametrize(
    "call",
    [
        "people_by_email('')",
        "people_by_email('%')",
        "people_by_email(null)",
        "people_by_session('')",
        "people_by_session(null)",
        "people_by_mail_token('', 'sign_up')",
        "people_by_mail_token(null, null)",
    ],
)
async def test_the_lookups_take_nothing_but_an_exact_credential(
    people: People, attacker: asyncpg.Connection, call: str
) -> None:
    await with_rows(people)
    assert await attacker.fetch(f"select * from {call}") == []


async def test_the_lookups_are_for_the_app_alone(people: People) -> None:
    for call in ("people_by_email('x')", "people_by_session('x')", "people_by_mail_token('x', 'sign_up')"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await people.database.dispatch.fetch(f"select * from {call}")
