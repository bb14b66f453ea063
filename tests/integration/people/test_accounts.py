"""Joining and setting passwords: by mail, once, and without telling which addresses are known."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from app.kernel.errors import DomainError
from app.kernel.ids import uuid7
from app.platform.people import service
from app.platform.people.service import MailSender, People, Visitor
from tests.factories.people import Mailbox, Somebody, fresh_email, fresh_password, make_person
from tests.integration.people.conftest import CountingHasher

pytestmark = pytest.mark.asyncio


def now() -> datetime:
    return datetime.now(UTC)


def visitor() -> Visitor:
    """Somebody from a network of their own."""
    group = uuid7().hex
    return Visitor(ip=f"2001:db8:{group[-4:]}:{group[-8:-4]}::1", user_agent="Test/1")


async def log_in(people: People, who: Somebody, password: str | None = None) -> service.Login:
    return await service.log_in(
        people, email=who.email, password=password or who.password, visitor=visitor(), now=now()
    )


async def _refused(code: str, call: object) -> None:
    with pytest.raises(DomainError) as raised:
        await call  # type: ignore[misc]
    assert raised.value.code == code


async def test_who_reads_the_mail_and_knows_the_password_gets_the_account(
    people: People, sender: MailSender, mailbox: Mailbox
) -> None:
    email, password = fresh_email(), fresh_password()
    await service.sign_up(people, email=f" {email.upper()}", password=password, visitor=visitor(), now=now())
    await _refused(
        "wrong_credentials", service.log_in(people, email=email, password=password, visitor=visitor(), now=now())
    )
    await sender.send_due()
    joined = await service.confirm_sign_up(
        people, token=mailbox.token(email), password=password, visitor=visitor(), now=now()
    )
    assert joined.invitation is None
    found = await service.session_user(people, joined.login.token, now=now())
    assert found is not None and found[0].email == email and found[1].amr == ("pwd",)
    again = await service.log_in(people, email=email, password=password, visitor=visitor(), now=now())
    assert not again.pending


async def test_a_mailed_link_without_the_chosen_password_makes_no_account(
    people: People, sender: MailSender, mailbox: Mailbox
) -> None:
    email = fresh_email()
    await service.sign_up(people, email=email, password=fresh_password(), visitor=visitor(), now=now())
    await sender.send_due()
    token = mailbox.token(email)
    await _refused(
        "wrong_password",
        service.confirm_sign_up(people, token=token, password=fresh_password(), visitor=visitor(), now=now()),
    )


async def test_of_two_sign_ups_for_one_address_the_password_of_the_used_link_counts(
    people: People, sender: MailSender, mailbox: Mailbox
) -> None:
    email, theirs, ours = fresh_email(), fresh_password(), fresh_password()
    tokens = []
    for password in (theirs, ours):
        await service.sign_up(people, email=email, password=password, visitor=visitor(), now=now())
        await sender.send_due()
        tokens.append(mailbox.token(email))
    await service.confirm_sign_up(people, token=tokens[1], password=ours, visitor=visitor(), now=now())
    await _refused(
        "account_exists",
        service.confirm_sign_up(people, token=tokens[0], password=theirs, visitor=visitor(), now=now()),
    )
    await service.log_in(people, email=email, password=ours, visitor=visitor(), now=now())


async def test_a_sign_up_for_a_known_address_does_the_same_work_and_tells_only_the_mailbox(
    people: People, sender: MailSender, mailbox: Mailbox, hasher: CountingHasher
) -> None:
    known, unknown = await make_person(people), fresh_email()
    for email in (known.email, unknown):
        before = hasher.hashed
        await service.sign_up(people, email=email, password=fresh_password(), visitor=visitor(), now=now())
        assert hasher.hashed == before + 1
    await sender.send_due()
    assert [mail.subject for mail in mailbox.to(known.email)] == ["You already have a Mandi account"]
    assert "token=" not in mailbox.to(known.email)[0].text
    assert [mail.subject for mail in mailbox.to(unknown)] == ["Finish your Mandi account"]
    await log_in(people, known)


async def test_unknown_address_and_wrong_password_take_the_same_work_and_get_the_same_answer(
    people: People, hasher: CountingHasher
) -> None:
    known = await make_person(people)
    answers = []
    for email in (known.email, fresh_email(), "no address at all"):
        before = hasher.verified
        with pytest.raises(DomainError) as raised:
            await service.log_in(people, email=email, password=fresh_password(), visitor=visitor(), now=now())
        answers.append((raised.value.code, raised.value.kind, raised.value.message, raised.value.param))
        assert hasher.verified == before + 1
    assert len(set(answers)) == 1


async def test_a_reset_sets_the_password_ends_every_session_and_every_other_link(
    people: People, sender: MailSender, mailbox: Mailbox
) -> None:
    who, password = await make_person(people), fresh_password()
    login = await log_in(people, who)
    tokens = []
    for _ in range(2):
        await service.ask_for_reset(people, email=who.email, visitor=visitor(), now=now())
        await sender.send_due()
        tokens.append(mailbox.token(who.email))
    device = await service.reset_password(people, token=tokens[0], password=password, visitor=visitor(), now=now())
    assert people.known_device(device, who.email)
    assert await service.session_user(people, login.token, now=now()) is None
    await _refused("wrong_credentials", log_in(people, who))
    await log_in(people, who, password)
    for token in tokens:
        await _refused(
            "link_not_good",
            service.reset_password(people, token=token, password=fresh_password(), visitor=visitor(), now=now()),
        )
    await sender.send_due()
    assert mailbox.to(who.email)[-1].subject == "Your Mandi login was changed"


async def test_a_reset_for_an_unknown_address_sends_nothing(
    people: People, sender: MailSender, mailbox: Mailbox
) -> None:
    email = fresh_email()
    await service.ask_for_reset(people, email=email, visitor=visitor(), now=now())
    await sender.send_due()
    assert mailbox.to(email) == []


async def test_a_link_ends_after_its_time(people: People, sender: MailSender, mailbox: Mailbox) -> None:
    who = await make_person(people)
    await service.ask_for_reset(people, email=who.email, visitor=visitor(), now=now())
    await sender.send_due()
    reset = service.reset_password(
        people,
        token=mailbox.token(who.email),
        password=fresh_password(),
        visitor=visitor(),
        now=now() + timedelta(minutes=31),
    )
    await _refused("link_not_good", reset)


async def test_a_link_of_one_purpose_serves_no_other(people: People, sender: MailSender, mailbox: Mailbox) -> None:
    email, password = fresh_email(), fresh_password()
    await service.sign_up(people, email=email, password=password, visitor=visitor(), now=now())
    await sender.send_due()
    token = mailbox.token(email)
    await _refused(
        "link_not_good",
        service.reset_password(people, token=token, password=password, visitor=visitor(), now=now()),
    )


async def test_of_eight_uses_of_one_reset_link_at_once_exactly_one_counts(
    people: People, sender: MailSender, mailbox: Mailbox
) -> None:
    who = await make_person(people)
    await service.ask_for_reset(people, email=who.email, visitor=visitor(), now=now())
    await sender.send_due()
    token, passwords = mailbox.token(who.email), [fresh_password() for _ in range(8)]
    done = await asyncio.gather(
        *(
            service.reset_password(people, token=token, password=password, visitor=visitor(), now=now())
            for password in passwords
        ),
        return_exceptions=True,
    )
    failures = [one for one in done if isinstance(one, BaseException)]
    assert len(failures) == 7
    assert {getattr(one, "code", one) for one in failures} == {"link_not_good"}
    winner = next(n for n, one in enumerate(done) if not isinstance(one, BaseException))
    await log_in(people, who, passwords[winner])


async def test_of_eight_uses_of_one_sign_up_link_at_once_exactly_one_counts(
    people: People, sender: MailSender, mailbox: Mailbox
) -> None:
    email, password = fresh_email(), fresh_password()
    await service.sign_up(people, email=email, password=password, visitor=visitor(), now=now())
    await sender.send_due()
    token = mailbox.token(email)
    done = await asyncio.gather(
        *(
            service.confirm_sign_up(people, token=token, password=password, visitor=visitor(), now=now())
            for _ in range(8)
        ),
        return_exceptions=True,
    )
    assert len([one for one in done if isinstance(one, service.Joined)]) == 1


async def test_changing_the_password_ends_the_other_sessions_and_renews_this_one(people: People) -> None:
    who, password = await make_person(people), fresh_password()
    other, mine = await log_in(people, who), await log_in(people, who)
    found = await service.session_user(people, mine.token, now=now())
    assert found is not None
    for current, code in ((fresh_password(), "wrong_password"), (who.password, None)):
        change = service.change_password(
            people,
            *found,
            token=mine.token,
            current=current,
            password=password,
            visitor=visitor(),
            now=now(),
        )
        if code:
            await _refused(code, change)
        else:
            changed = await change
    assert await service.session_user(people, other.token, now=now()) is None
    assert await service.session_user(people, mine.token, now=now()) is None
    assert await service.session_user(people, changed.token, now=now()) is not None
    await log_in(people, who, password)


async def test_a_hash_with_old_parameters_is_renewed_at_the_next_login(people: People) -> None:
    from pwdlib.hashers.argon2 import Argon2Hasher

    who = await make_person(people)
    old = Argon2Hasher(time_cost=1, memory_cost=1024, parallelism=1).hash(who.password)
    async with people.database.person(who.person.id) as tx:
        await tx.execute(text("update users set password_hash = :old"), {"old": old})
    await log_in(people, who)
    async with people.database.person(who.person.id) as tx:
        stored = (await tx.execute(text("select password_hash from users"))).scalar_one()
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    await log_in(people, who)


async def test_a_suspended_person_is_told_so_only_with_the_right_password(people: People) -> None:
    who = await make_person(people)
    login = await log_in(people, who)
    async with people.database.person(who.person.id) as tx:
        await tx.execute(text("update users set status = 'suspended'"))
    await _refused("account_suspended", log_in(people, who))
    await _refused("wrong_credentials", log_in(people, who, fresh_password()))
    assert await service.session_user(people, login.token, now=now()) is None


async def test_mail_that_the_server_refuses_is_tried_again_and_given_up_in_the_end(
    people: People, mailbox: Mailbox
) -> None:
    email, at = fresh_email(), now()
    clock = [at]
    sender = MailSender(people, mailbox, public_url="http://gateway", clock=lambda: clock[0])
    await service.sign_up(people, email=email, password=fresh_password(), visitor=visitor(), now=at)
    mailbox.fails_with = ConnectionError("the server is away")
    await sender.send_due()
    mailbox.fails_with = None
    await sender.send_due()
    assert mailbox.to(email) == [], "it waits before the next attempt"
    clock[0] += timedelta(minutes=5)
    await sender.send_due()
    assert len(mailbox.to(email)) == 1
    clock[0] += timedelta(hours=5)
    await sender.send_due()
    assert len(mailbox.to(email)) == 1
    await service.sign_up(people, email=email, password=fresh_password(), visitor=visitor(), now=clock[0])
    mailbox.fails_with = ConnectionError("the server is away")
    for _ in range(10):
        await sender.send_due()
        clock[0] += timedelta(hours=2)
    left = await people.database.dispatch.fetchval("select count(*) from mail_requests where email = $1", email)
    assert left == 0
