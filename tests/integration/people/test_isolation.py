"""No statement of one person reaches another's rows: as the role that every request has, in each of people's tables."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

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


async def act_as(connection: asyncpg.Connection, user_id: UUID | None) -> None:
    await connection.execute("select set_config('app.user_id', $1, true)", str(user_id) if user_id else "")


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


async def test_each_table_shows_the_person_of_the_setting_and_nobody_without_one(
    people: People, attacker: asyncpg.Connection
) -> None:
    victim, other = await with_rows(people), await with_rows(people)
    for table in READABLE:
        column = PERSON_TABLES[table]
        for person, seen in ((victim.person.id, {victim.person.id}), (uuid7(), set()), (None, set())):
            async with attacker.transaction():
                await act_as(attacker, person)
                rows = await attacker.fetch(f"select {column} as person from {table}")
                assert {row["person"] for row in rows} == seen, (table, person)
                theirs = f"select 1 from {table} where {column} = $1"
                assert await attacker.fetch(theirs, other.person.id) == []


async def test_what_one_person_may_write_reaches_no_other_row(people: People, attacker: asyncpg.Connection) -> None:
    victim, own = await with_rows(people), await with_rows(people)
    tried = 0
    for table, column in PERSON_TABLES.items():
        grants = await attacker.fetch(
            "select column_name as name from information_schema.column_privileges"
            " where table_name = $1 and grantee = 'mandi_app' and privilege_type = 'UPDATE'",
            table,
        )
        statements = [f"update {table} set {one['name']} = {one['name']} returning {column}" for one in grants]
        statements.append(f"delete from {table} returning {column}")
        for statement in statements:
            for person in (own.person.id, None):
                tried += 1
                try:
                    async with attacker.transaction():
                        await act_as(attacker, person)
                        changed = {row[0] for row in await attacker.fetch(statement)}
                        assert changed <= {person}, statement
                        raise _Undo
                except (_Undo, asyncpg.InsufficientPrivilegeError, asyncpg.ForeignKeyViolationError):
                    pass
    assert tried >= 30
    assert not (await log_in(people, victim)).device


class _Undo(Exception):
    """Rolls an attempt back."""


async def test_nobody_inserts_a_row_of_another_person(people: People, attacker: asyncpg.Connection) -> None:
    victim, own = await with_rows(people), await make_person(people)
    key = uuid7()
    inserts = {
        "users": f"(id, email, password_hash, email_verified_at, password_changed_at, status, created_at)"
        f" values ('{key}', '{fresh_email()}', 'x', now(), now(), 'active', now())",
        "sign_ups": f"(id, email, password_hash, created_at) values ('{key}', 'a@example.com', 'x', now())",
        "mail_tokens": "(id, user_id, purpose, token_hash, expires_at, created_at)"
        f" values ('{key}', '{victim.person.id}', 'password_reset', decode(repeat('ab', 32), 'hex'), now(), now())",
        "recovery_codes": "(id, user_id, code_hash, created_at)"
        f" values ('{key}', '{victim.person.id}', decode(repeat('ab', 32), 'hex'), now())",
        "login_sessions": "(id, user_id, token_hash, pending, auth_time, amr, last_seen_at, expires_at, created_at)"
        f" values ('{key}', '{victim.person.id}', decode(repeat('cd', 32), 'hex'), false, now(), '{{}}', now(), now(),"
        " now())",
        "mail_requests": "(id, user_id, purpose, email, attempts, available_at, created_at)"
        f" values ('{key}', '{victim.person.id}', 'sign_up', 'a@example.com', 0, now(), now())",
    }
    assert inserts.keys() == PERSON_TABLES.keys()
    for table, row in inserts.items():
        for person in (own.person.id, None):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with attacker.transaction():
                    await act_as(attacker, person)
                    await attacker.execute(f"insert into {table} {row}")


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
