"""Throttling where it counts: before any hashing, in Redis or locally without it, and never against owners."""

import asyncio
from datetime import UTC, datetime

import pytest

from app.kernel.errors import DomainError
from app.kernel.ids import uuid7
from app.platform.people import service
from app.platform.people.domain import Plan, Rule
from app.platform.people.service import People, Throttle, Visitor
from tests.factories.people import fresh_email, fresh_password, make_person
from tests.integration.people.conftest import CountingHasher

pytestmark = pytest.mark.asyncio


def now() -> datetime:
    return datetime.now(UTC)


def somewhere() -> str:
    group = uuid7().hex
    return f"2001:db8:{group[-4:]}:{group[-8:-4]}::1"


async def attempt(people: People, email: str, password: str, *, ip: str, device: str | None = None) -> str:
    """`in`, or the code of the refusal."""
    try:
        await service.log_in(people, email=email, password=password, visitor=Visitor(ip, None, device), now=now())
    except DomainError as error:
        return error.code
    return "in"


async def test_the_eleventh_guess_from_one_network_is_refused_before_it_is_hashed(
    people: People, hasher: CountingHasher
) -> None:
    who, ip = await make_person(people), somewhere()
    codes = [await attempt(people, who.email, fresh_password(), ip=ip) for _ in range(10)]
    assert set(codes) == {"wrong_credentials"}
    before = hasher.verified
    assert await attempt(people, who.email, who.password, ip=ip) == "too_many_attempts"
    assert hasher.verified == before
    assert await attempt(people, who.email, who.password, ip=somewhere()) == "in"


async def test_an_unknown_address_is_throttled_the_same(people: People) -> None:
    email, ip = fresh_email(), somewhere()
    codes = [await attempt(people, email, fresh_password(), ip=ip) for _ in range(11)]
    assert codes == ["wrong_credentials"] * 10 + ["too_many_attempts"]


async def test_guessing_at_once_counts_every_guess(people: People) -> None:
    who, ip = await make_person(people), somewhere()
    codes = await asyncio.gather(*(attempt(people, who.email, fresh_password(), ip=ip) for _ in range(16)))
    assert codes.count("too_many_attempts") == 6


async def test_an_attack_from_everywhere_is_slowed_and_never_keeps_the_owners_device_out(people: People) -> None:
    who = await make_person(people)
    login = await service.log_in(
        people, email=who.email, password=who.password, visitor=Visitor(somewhere(), None, None), now=now()
    )
    spent = [Rule(60, 3600, ("account", "password", who.email)), Rule(1, 10, ("slow", "password", who.email))]
    for rule in spent:
        for _ in range(rule.amount):
            try:
                await people.throttle.admit(Plan((rule,)))
            except DomainError:
                break
    assert await attempt(people, who.email, fresh_password(), ip=somewhere()) == "too_many_attempts"
    for _ in range(12):
        assert await attempt(people, who.email, who.password, ip=somewhere(), device=login.device) == "in"


async def test_a_known_device_is_counted_by_itself(people: People) -> None:
    who = await make_person(people)
    device = people.device_for(who.email, Visitor())
    codes = [await attempt(people, who.email, fresh_password(), ip=somewhere(), device=device) for _ in range(11)]
    assert codes[-1] == "too_many_attempts"
    assert await attempt(people, who.email, who.password, ip=somewhere()) == "in"


async def test_a_device_cookie_of_another_person_or_of_nobody_counts_for_nothing(people: People) -> None:
    one, other = fresh_email(), fresh_email()
    device = people.device_for(one, Visitor())
    assert people.known_device(device, one)
    assert people.device_for(one, Visitor(device=device)) == device
    name = device.partition(".")[0]
    for cookie in (None, "", ".", name, f"{name}.", f"{name}.{'0' * 64}", f"x{device}", device + "é"):
        assert people.known_device(cookie, one) is None
    assert people.known_device(device, other) is None


async def test_a_success_forgives_the_failures_before_it(people: People) -> None:
    who, ip = await make_person(people), somewhere()
    for _ in range(3):
        for _ in range(9):
            assert await attempt(people, who.email, fresh_password(), ip=ip) == "wrong_credentials"
        assert await attempt(people, who.email, who.password, ip=ip) == "in"


async def test_asking_for_mail_is_limited_whether_or_not_the_address_is_known(people: People) -> None:
    who = await make_person(people)
    for email in (who.email, fresh_email()):
        visitor = Visitor(somewhere(), None, None)
        for _ in range(5):
            await service.ask_for_reset(people, email=email, visitor=visitor, now=now())
        with pytest.raises(DomainError) as raised:
            await service.ask_for_reset(people, email=email, visitor=visitor, now=now())
        assert raised.value.code == "too_many_attempts"


async def test_without_redis_the_gateway_counts_by_itself() -> None:
    throttle = Throttle("redis://127.0.0.1:1")
    plan = Plan((Rule(3, 60, ("x", "y")),))
    for _ in range(3):
        await throttle.admit(plan)
    with pytest.raises(DomainError) as raised:
        await throttle.admit(plan)
    assert raised.value.code == "too_many_attempts"
    await throttle.forgive(Plan((), forgiven=plan.rules))
    await throttle.admit(plan)
    await throttle.close()


async def test_more_than_may_wait_for_the_hasher_are_told_to_come_back() -> None:
    from app.platform.people.service import Hasher

    hasher = Hasher(threads=1, waiting=2)
    done = await asyncio.gather(*(hasher.hash("x" * 12) for _ in range(5)), return_exceptions=True)
    assert [getattr(one, "code", "done") for one in done] == ["done"] * 3 + ["passwords_busy"] * 2
    assert await hasher.verify("x" * 12, str(done[0])) == (True, None)
    assert await hasher.verify("x" * 12, None) == (False, None)
    hasher.close()
