"""Sessions: opaque, ended by time or by hand, seen and ended only by their own person."""

from datetime import UTC, datetime, timedelta

import pytest

from app.kernel.errors import DomainError
from app.kernel.ids import uuid7
from app.platform.people import service
from app.platform.people.domain import ABSOLUTE, IDLE
from app.platform.people.service import People, Visitor
from tests.factories.people import make_person
from tests.integration.people.test_accounts import log_in

pytestmark = pytest.mark.asyncio


def now() -> datetime:
    return datetime.now(UTC)


async def test_a_session_ends_when_it_is_idle_and_at_the_latest_after_a_week(people: People) -> None:
    who, at = await make_person(people), now()
    idle, used = await log_in(people, who), await log_in(people, who)
    assert await service.session_user(people, idle.token, now=at + IDLE + timedelta(seconds=5)) is None
    moment = at
    while moment < at + ABSOLUTE - IDLE:
        moment += IDLE - timedelta(minutes=1)
        assert await service.session_user(people, used.token, now=moment) is not None
    assert await service.session_user(people, used.token, now=at + ABSOLUTE + timedelta(seconds=5)) is None


@pytest.mark.parametrize("token", [None, "", "x", "x" * 43, "x" * 10_000, "\x00", "é"])
async def test_what_is_no_token_is_nobody(people: People, token: str | None) -> None:
    assert await service.session_user(people, token, now=now()) is None
    assert await service.pending_user(people, token, now=now()) is None
    await service.log_out(people, token, now=now())


async def test_sessions_are_listed_and_ended_by_their_person_alone(people: People) -> None:
    who, other = await make_person(people), await make_person(people)
    first, second = await log_in(people, who), await log_in(people, who)
    rows = await service.list_sessions(people, who.person, now=now())
    assert len(rows) == 2 and all(row.user_agent == "Test/1" and row.source_ip for row in rows)
    assert await service.list_sessions(people, other.person, now=now()) == []
    found = await service.session_user(people, first.token, now=now())
    assert found is not None
    for stranger_to in (found[1].id, uuid7()):
        with pytest.raises(DomainError) as raised:
            await service.end_session(people, other.person, stranger_to, now=now())
        assert raised.value.code == "session_not_found"
    await service.end_session(people, who.person, found[1].id, now=now())
    await service.end_session(people, who.person, found[1].id, now=now())
    assert await service.session_user(people, first.token, now=now()) is None
    assert await service.session_user(people, second.token, now=now()) is not None
    assert len(await service.list_sessions(people, who.person, now=now())) == 1


async def test_a_login_ends_the_session_that_the_browser_had(people: People) -> None:
    who, other = await make_person(people), await make_person(people)
    before = await log_in(people, other)
    await service.log_in(
        people, email=who.email, password=who.password, visitor=Visitor(), now=now(), replaces=before.token
    )
    assert await service.session_user(people, before.token, now=now()) is None


async def test_nothing_that_holds_a_secret_prints_it(people: People) -> None:
    who = await make_person(people)
    login = await log_in(people, who)
    shown = f"{login!r} {Visitor('203.0.113.1', None, login.device)!r} {people!r}"
    assert login.token not in shown and (login.device or "-") not in shown and repr(bytes(32)) not in shown
