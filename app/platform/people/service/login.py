"""Decides who is let in: password, then the second factor where there is one; and how an insider proves it again."""

from datetime import datetime

import structlog
from sqlmodel import col, update

from app.kernel.errors import DomainError, Kind
from app.platform.people import repository
from app.platform.people.domain import MAX_PASSWORD, Person, Session, plan_attempt
from app.platform.people.service.accounts import wrong_password
from app.platform.people.service.people import People, Visitor
from app.platform.people.service.second_factor import check_code, take_proof
from app.platform.people.service.sessions import Login, log_out, open_session, pending_user, rotate_session
from app.platform.people.tables import User

log = structlog.get_logger(__name__)


async def log_in(
    people: People, *, email: str, password: str, visitor: Visitor, now: datetime, replaces: str | None = None
) -> Login:
    """A new session by e-mail and password; `pending` where a second factor is in force.

    `replaces` is the browser's present session token: that session ends. Raises `wrong_credentials`, the same for an
    unknown address and a wrong password and after the same work; `too_many_attempts`, `passwords_busy`; and
    `account_suspended`, only to whoever has the right password.
    """
    typed = email.strip().lower()[:254]
    device = people.known_device(visitor.device, typed)
    plan = plan_attempt("password", typed, ip=visitor.ip, device=device)
    await people.throttle.admit(plan)
    found = await repository.find_by_email(people.database.pool, typed)
    matches, renewed = await people.hasher.verify(password[:MAX_PASSWORD], found.password_hash if found else None)
    if found is None or not matches or len(password) > MAX_PASSWORD:
        log.info("login.refused", source_ip=visitor.ip, known_device=device is not None)
        raise DomainError(
            "wrong_credentials",
            Kind.UNAUTHENTICATED,
            "E-mail and password do not belong together. Check both, or set a new password.",
        )
    person = found.person
    if person.status != "active":
        raise DomainError("account_suspended", Kind.FORBIDDEN, "This account is suspended. Write to support.")
    await people.throttle.forgive(plan)
    async with people.database.person(person.id) as tx:
        if renewed is not None:
            await tx.execute(update(User).where(col(User.id) == person.id).values(password_hash=renewed))
        token = await open_session(tx, amr=["pwd"], pending=person.second_factor, visitor=visitor, now=now)
    if replaces:
        await log_out(people, replaces, now=now)
    if person.second_factor:
        return Login(token, pending=True)
    log.info("login.succeeded", user_id=str(person.id), source_ip=visitor.ip)
    return Login(token, pending=False, device=people.device_for(person.email, visitor))


async def give_code(people: People, *, token: str | None, code: str, visitor: Visitor, now: datetime) -> Login:
    """Complete a pending login by a TOTP or recovery code; the session's token changes.

    Raises `login_expired`, `wrong_code`, `too_many_attempts`.
    """
    found = await pending_user(people, token, now=now)
    if found is None or token is None:
        raise DomainError("login_expired", Kind.UNAUTHENTICATED, "This login took too long. Start again.")
    person, session = found
    fresh = await _prove_by_code(people, person, session, token=token, code=code, visitor=visitor, now=now)
    log.info("login.succeeded", user_id=str(person.id), source_ip=visitor.ip)
    return Login(fresh, pending=False, device=people.device_for(person.email, visitor))


async def confirm_identity(
    people: People, person: Person, session: Session, *, token: str, secret: str, visitor: Visitor, now: datetime
) -> Login:
    """Prove again who it is (step-up): by a code where a second factor is in force, else by the password.

    The session's token changes and `auth_time` becomes `now`. Raises `wrong_code`, `wrong_password`,
    `too_many_attempts`, `passwords_busy`.
    """
    if person.second_factor:
        fresh = await _prove_by_code(people, person, session, token=token, code=secret, visitor=visitor, now=now)
        return Login(fresh, pending=False)
    device = people.known_device(visitor.device, person.email)
    plan = plan_attempt("password", person.email, ip=visitor.ip, device=device)
    await people.throttle.admit(plan)
    found = await repository.find_by_email(people.database.pool, person.email)
    matches, _ = await people.hasher.verify(secret[:MAX_PASSWORD], found.password_hash if found else None)
    if not matches:
        raise wrong_password()
    await people.throttle.forgive(plan)
    async with people.database.person(person.id) as tx:
        return Login(await rotate_session(tx, session, token, amr=["pwd"], now=now), pending=False)


async def _prove_by_code(
    people: People, person: Person, session: Session, *, token: str, code: str, visitor: Visitor, now: datetime
) -> str:
    device = people.known_device(visitor.device, person.email)
    plan = plan_attempt("code", person.email, ip=visitor.ip, device=device)
    await people.throttle.admit(plan)
    proof = await check_code(people, person, code, now=now)
    async with people.database.person(person.id) as tx:
        await take_proof(tx, proof, now=now)
        fresh = await rotate_session(tx, session, token, amr=["pwd", proof.method, "mfa"], now=now)
    await people.throttle.forgive(plan)
    return fresh
