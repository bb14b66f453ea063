"""The second factor: set up by a first code, proven once per code, given up or replaced only with a fresh proof."""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any

import pyotp
import pytest
from sqlalchemy import text

from app.infra.crypto.envelope import UnsealError
from app.kernel.errors import DomainError
from app.platform.people import service
from app.platform.people.service import People, Person, Session
from tests.factories.people import Somebody, make_person
from tests.integration.people.test_accounts import log_in, visitor

pytestmark = pytest.mark.asyncio


def now() -> datetime:
    return datetime.now(UTC)


async def insider(people: People, who: Somebody) -> tuple[Person, Session]:
    login = await log_in(people, who)
    found = await service.session_user(people, login.token, now=now())
    assert found is not None
    return found


async def enrol(people: People, who: Somebody) -> tuple[pyotp.TOTP, list[str]]:
    """Set the second factor up with the code of a minute ago's step, so that the present one is still unused."""
    found = await insider(people, who)
    enrolment = await service.begin_totp(people, *found, now=now())
    otp = pyotp.TOTP(enrolment.text)
    at = now()
    codes = await service.confirm_totp(people, *found, otp.at(at - timedelta(seconds=30)), now=at)
    return otp, codes


async def refused(code: str, call: Awaitable[Any]) -> None:
    with pytest.raises(DomainError) as raised:
        await call
    assert raised.value.code == code


async def test_a_login_with_a_second_factor_opens_nothing_before_the_code(people: People) -> None:
    who = await make_person(people)
    otp, _ = await enrol(people, who)
    login = await log_in(people, who)
    assert login.pending and login.device is None
    assert await service.session_user(people, login.token, now=now()) is None
    await refused("wrong_code", service.give_code(people, token=login.token, code="", visitor=visitor(), now=now()))
    whole = await service.give_code(people, token=login.token, code=otp.at(now()), visitor=visitor(), now=now())
    assert whole.token != login.token
    assert await service.session_user(people, login.token, now=now()) is None
    found = await service.session_user(people, whole.token, now=now())
    assert found is not None and found[1].amr == ("pwd", "otp", "mfa")


async def test_a_code_is_taken_once_and_no_older_one_after_it(people: People) -> None:
    who = await make_person(people)
    otp, _ = await enrol(people, who)
    at = now()
    for code, taken in ((otp.at(at), True), (otp.at(at), False), (otp.at(at - timedelta(seconds=30)), False)):
        login = await log_in(people, who)
        give = service.give_code(people, token=login.token, code=code, visitor=visitor(), now=at)
        if taken:
            await give
        else:
            await refused("wrong_code", give)


@pytest.mark.parametrize("kind", ["totp", "recovery"])
async def test_of_eight_uses_of_one_code_at_once_exactly_one_counts(people: People, kind: str) -> None:
    who = await make_person(people)
    otp, codes = await enrol(people, who)
    at = now()
    code = otp.at(at) if kind == "totp" else codes[3]
    logins = [await log_in(people, who) for _ in range(8)]
    done = await asyncio.gather(
        *(service.give_code(people, token=one.token, code=code, visitor=visitor(), now=at) for one in logins),
        return_exceptions=True,
    )
    assert len([one for one in done if isinstance(one, service.Login)]) == 1
    assert {getattr(one, "code", None) for one in done if not isinstance(one, service.Login)} == {"wrong_code"}


async def test_a_recovery_code_works_once_however_it_is_typed(people: People) -> None:
    who = await make_person(people)
    _, codes = await enrol(people, who)
    assert len(set(codes)) == 10
    for typed, taken in ((f" {codes[0].upper().replace('-', ' ')} ", True), (codes[0], False), (codes[1], True)):
        login = await log_in(people, who)
        give = service.give_code(people, token=login.token, code=typed, visitor=visitor(), now=now())
        if taken:
            found = await service.session_user(people, (await give).token, now=now())
            assert found is not None and found[1].amr == ("pwd", "recovery", "mfa")
        else:
            await refused("wrong_code", give)
    assert await service.recovery_codes_left(people, who.person) == 8


async def test_another_persons_codes_count_for_nothing(people: People) -> None:
    one, other = await make_person(people), await make_person(people)
    otp, codes = await enrol(people, one)
    await enrol(people, other)
    login = await log_in(people, other)
    for code in (otp.at(now()), codes[0]):
        give = service.give_code(people, token=login.token, code=code, visitor=visitor(), now=now())
        await refused("wrong_code", give)


async def test_it_is_not_in_force_before_its_first_code(people: People) -> None:
    who = await make_person(people)
    found = await insider(people, who)
    enrolment = await service.begin_totp(people, *found, now=now())
    assert not (await log_in(people, who)).pending
    assert "<svg" in enrolment.qr_svg and "http://www.w3.org" not in enrolment.qr_svg.replace("w3.org/2000/svg", "")
    await refused("wrong_code", service.confirm_totp(people, *found, "000000x", now=now()))
    assert not (await log_in(people, who)).pending
    assert enrolment.text not in repr(enrolment)


async def test_setting_up_and_giving_up_need_a_fresh_proof(people: People) -> None:
    who = await make_person(people)
    person, session = await insider(people, who)
    late = now() + timedelta(minutes=11)
    await refused("step_up_required", service.begin_totp(people, person, session, now=late))
    await refused("step_up_required", service.remove_totp(people, person, session, now=late))
    await refused("step_up_required", service.new_recovery_codes(people, person, session, now=late))
    await refused("step_up_required", service.confirm_totp(people, person, session, "000000", now=late))


async def test_a_step_up_proves_the_second_factor_and_renews_the_session(people: People) -> None:
    who = await make_person(people)
    otp, _ = await enrol(people, who)
    login = await log_in(people, who)
    whole = await service.give_code(people, token=login.token, code=otp.at(now()), visitor=visitor(), now=now())
    later = now() + timedelta(minutes=20)
    found = await service.session_user(people, whole.token, now=later)
    assert found is not None
    with pytest.raises(DomainError, match="fresh proof"):
        service.require_recent(found[1], now=later)
    call = service.confirm_identity(
        people, *found, token=whole.token, secret=who.password, visitor=visitor(), now=later
    )
    await refused("wrong_code", call)
    renewed = await service.confirm_identity(
        people, *found, token=whole.token, secret=otp.at(later), visitor=visitor(), now=later
    )
    assert await service.session_user(people, whole.token, now=later) is None
    again = await service.session_user(people, renewed.token, now=later)
    assert again is not None and again[1].id == found[1].id
    service.require_recent(again[1], now=later)


async def test_without_it_the_password_is_the_fresh_proof(people: People) -> None:
    who = await make_person(people)
    login = await log_in(people, who)
    later = now() + timedelta(minutes=20)
    found = await service.session_user(people, login.token, now=later)
    assert found is not None
    wrong = service.confirm_identity(people, *found, token=login.token, secret="x" * 12, visitor=visitor(), now=later)
    await refused("wrong_password", wrong)
    renewed = await service.confirm_identity(
        people, *found, token=login.token, secret=who.password, visitor=visitor(), now=later
    )
    again = await service.session_user(people, renewed.token, now=later)
    assert again is not None
    service.require_recent(again[1], now=later)


async def test_giving_it_up_ends_its_codes(people: People) -> None:
    who = await make_person(people)
    otp, codes = await enrol(people, who)
    login = await log_in(people, who)
    whole = await service.give_code(people, token=login.token, code=otp.at(now()), visitor=visitor(), now=now())
    found = await service.session_user(people, whole.token, now=now())
    assert found is not None
    fresh = await service.new_recovery_codes(people, *found, now=now())
    assert not set(fresh) & set(codes)
    await service.remove_totp(people, *found, now=now())
    assert not (await log_in(people, who)).pending
    assert await service.recovery_codes_left(people, who.person) == 0
    await refused("no_totp", service.new_recovery_codes(people, *found, now=now()))


async def test_secrets_and_codes_rest_sealed_or_hashed(people: People) -> None:
    who = await make_person(people)
    found = await insider(people, who)
    enrolment = await service.begin_totp(people, *found, now=now())
    otp = pyotp.TOTP(enrolment.text)
    codes = await service.confirm_totp(people, *found, otp.at(now()), now=now())
    login = await log_in(people, who)
    async with people.database.person(who.person.id) as tx:
        rows: list[str] = []
        for table in ("users", "recovery_codes", "login_sessions"):
            rows += (await tx.execute(text(f"select t::text from {table} t"))).scalars().all()
    stored = " ".join(rows)
    secrets = [who.password, enrolment.text, otp.byte_secret().hex(), login.token, *codes]
    assert len(rows) >= 13
    assert [one for one in secrets if one in stored] == []


async def test_a_sealed_secret_moved_to_another_person_does_not_open(people: People) -> None:
    sealed = await people.sealer.seal(b"secret", context=b"users|totp_secret|one")
    assert await people.sealer.unseal(sealed, context=b"users|totp_secret|one") == b"secret"
    for changed, context in (
        (sealed, b"users|totp_secret|other"),
        (sealed[:-1] + bytes([sealed[-1] ^ 1]), b"users|totp_secret|one"),
        (b"\x02" + sealed[1:], b"users|totp_secret|one"),
    ):
        with pytest.raises(UnsealError):
            await people.sealer.unseal(changed, context=context)
