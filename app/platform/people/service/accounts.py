"""Decides how somebody becomes a person here, and how a password is set again. Nothing tells which addresses are known.

A sign-up counts only for whoever reads the address's mail *and* knows the password that was chosen: so nobody can put
a password of theirs on another's address and wait for the click.
"""

from dataclasses import dataclass, field
from datetime import datetime

import structlog
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, delete, update

from app.infra.database import PersonTx
from app.kernel.errors import DomainError, Kind, conflict, invalid
from app.kernel.ids import uuid7
from app.platform.people import repository
from app.platform.people.domain import (
    MAX_PASSWORD,
    Person,
    Session,
    check_password,
    hash_token,
    plan_attempt,
    plan_hash,
    plan_mail,
)
from app.platform.people.service.invitations import seal_token, unseal_token
from app.platform.people.service.mail import request_mail
from app.platform.people.service.people import People, Visitor, common_passwords
from app.platform.people.service.sessions import Login, end_sessions, open_session, rotate_session
from app.platform.people.tables import MailToken, SignUp, User
from app.platform.tenancy.domain import normal_email

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Joined:
    """A login of somebody new, and the token of the invitation that he signed up from."""

    login: Login
    invitation: str | None = field(repr=False)


async def sign_up(
    people: People, *, email: str, password: str, visitor: Visitor, now: datetime, invitation: str | None = None
) -> None:
    """Ask for an account. The answer is nothing; the mail says whether there is one already.

    `invitation`: the token of the one that it comes from.

    Raises `invalid_email`, `password_…`, `too_many_attempts`, `passwords_busy`: none depends on what is stored.
    """
    normal = normal_email(email)
    check_password(password, email=normal, common=common_passwords())
    await people.throttle.admit(plan_mail(normal, ip=visitor.ip))
    hashed = await people.hasher.hash(password)
    async with people.database.person(uuid7()) as tx:
        sealed = None if invitation is None else seal_token(people, tx.user_id, invitation)
        tx.add(SignUp(id=tx.user_id, email=normal, password_hash=hashed, invitation=sealed, created_at=now))
        request_mail(tx, "sign_up", normal, now=now)
    people.mail_due.set()


async def confirm_sign_up(people: People, *, token: str, password: str, visitor: Visitor, now: datetime) -> Joined:
    """Make the account, by the mailed token and the password that was chosen, and log in.

    Raises `link_not_good`, `wrong_password`, `account_exists`, `too_many_attempts`, `passwords_busy`.
    """
    await people.throttle.admit(plan_hash(visitor.ip))
    token_hash = hash_token(token)
    user_id = await repository.find_by_mail_token(people.database.pool, token_hash, "sign_up", now=now)
    if user_id is None:
        raise _link_not_good()
    plan = plan_attempt("password", str(user_id), ip=visitor.ip, device=None)
    await people.throttle.admit(plan)
    async with people.database.person(user_id) as tx:
        waiting = await tx.get(SignUp, user_id)
    matches, _ = await people.hasher.verify(password[:MAX_PASSWORD], waiting.password_hash if waiting else None)
    if waiting is None or not matches:
        raise wrong_password()
    async with people.database.person(user_id) as tx:
        await _use_token(tx, token_hash, now=now)
        if await _insert_user(tx, waiting.email, waiting.password_hash, now=now) is None:
            raise conflict("account_exists", "This address has an account already. Log in instead.")
        await tx.execute(delete(SignUp).where(col(SignUp.id) == user_id))
        session = await open_session(tx, amr=["pwd"], pending=False, visitor=visitor, now=now)
    log.info("person.joined", user_id=str(user_id))
    login = Login(session, pending=False, device=people.device_for(waiting.email, visitor))
    return Joined(login, unseal_token(people, waiting))


async def create_person(people: People, *, email: str, password: str, now: datetime) -> Person:
    """A person whose address needs no proof: for the operator and the demo's seed. No route leads here.

    Raises `invalid_email`, `password_…`, `account_exists`.
    """
    normal = normal_email(email)
    check_password(password, email=normal, common=common_passwords())
    hashed = await people.hasher.hash(password)
    async with people.database.person(uuid7()) as tx:
        if await _insert_user(tx, normal, hashed, now=now) is None:
            raise conflict("account_exists", f"{normal!r} has an account already.", param="email")
        return Person(tx.user_id, normal, "active", second_factor=False)


async def ask_for_reset(people: People, *, email: str, visitor: Visitor, now: datetime) -> None:
    """Ask for a link to set a new password; it comes only where there is an account.

    Raises `invalid_email`, `too_many_attempts`.
    """
    normal = normal_email(email)
    await people.throttle.admit(plan_mail(normal, ip=visitor.ip))
    async with people.database.person(uuid7()) as tx:
        request_mail(tx, "password_reset", normal, now=now)
    people.mail_due.set()


async def reset_password(people: People, *, token: str, password: str, visitor: Visitor, now: datetime) -> str:
    """Set a new password by a mailed token, end every session; a device cookie, since who reads the mail is the owner.

    Raises `link_not_good`, `password_…`, `too_many_attempts`, `passwords_busy`.
    """
    await people.throttle.admit(plan_hash(visitor.ip))
    token_hash = hash_token(token)
    user_id = await repository.find_by_mail_token(people.database.pool, token_hash, "password_reset", now=now)
    if user_id is None:
        raise _link_not_good()
    async with people.database.person(user_id) as tx:
        user = await tx.get(User, user_id)
    if user is None:
        raise _link_not_good()
    check_password(password, email=user.email, common=common_passwords())
    hashed = await people.hasher.hash(password)
    async with people.database.person(user_id) as tx:
        await _use_token(tx, token_hash, now=now)
        await _set_password(tx, hashed, now=now)
        ended = await end_sessions(tx, now=now)
        request_mail(tx, "security_changed", user.email, now=now)
    await people.endings.sessions_ended(ended)
    people.mail_due.set()
    log.info("password.reset", user_id=str(user_id))
    return people.device_for(user.email, visitor)


async def change_password(
    people: People,
    person: Person,
    session: Session,
    *,
    token: str,
    current: str,
    password: str,
    visitor: Visitor,
    now: datetime,
) -> Login:
    """Set a new password by the present one; other sessions end, this one gets a new token.

    `token` is the session's. Raises `wrong_password`, `password_…`, `too_many_attempts`, `passwords_busy`.
    """
    device = people.known_device(visitor.device, person.email)
    plan = plan_attempt("password", person.email, ip=visitor.ip, device=device)
    await people.throttle.admit(plan)
    found = await repository.find_by_email(people.database.pool, person.email)
    matches, _ = await people.hasher.verify(current[:MAX_PASSWORD], found.password_hash if found else None)
    if not matches:
        raise wrong_password()
    check_password(password, email=person.email, common=common_passwords())
    hashed = await people.hasher.hash(password)
    async with people.database.person(person.id) as tx:
        fresh = await rotate_session(tx, session, token, amr=session.amr, now=now)
        await _set_password(tx, hashed, now=now)
        ended = await end_sessions(tx, now=now, keep=session.id)
        request_mail(tx, "security_changed", person.email, now=now)
    await people.endings.sessions_ended(ended)
    await people.throttle.forgive(plan)
    people.mail_due.set()
    log.info("password.changed", user_id=str(person.id))
    return Login(fresh, pending=False, device=people.device_for(person.email, visitor))


def wrong_password() -> DomainError:
    return DomainError("wrong_password", Kind.UNAUTHENTICATED, "This is not the password.", param="password")


def _link_not_good() -> DomainError:
    return invalid("link_not_good", "This link was used, is too old or incomplete. Ask for a new one.", param="token")


async def _use_token(tx: PersonTx, token_hash: bytes, *, now: datetime) -> None:
    """Of several that bring the same token at once, all but one get `link_not_good`."""
    used = await tx.execute(
        update(MailToken)
        .where(
            col(MailToken.token_hash) == token_hash,
            col(MailToken.used_at).is_(None),
            col(MailToken.expires_at) > now,
        )
        .values(used_at=now)
        .returning(col(MailToken.id))
    )
    if used.first() is None:
        raise _link_not_good()


async def _set_password(tx: PersonTx, hashed: str, *, now: datetime) -> None:
    """The new hash; links to set another one end."""
    await tx.execute(
        update(User).where(col(User.id) == tx.user_id).values(password_hash=hashed, password_changed_at=now)
    )
    await tx.execute(
        update(MailToken)
        .where(
            col(MailToken.user_id) == tx.user_id,
            col(MailToken.purpose) == "password_reset",
            col(MailToken.used_at).is_(None),
        )
        .values(used_at=now)
    )


async def _insert_user(tx: PersonTx, email: str, hashed: str, *, now: datetime) -> object | None:
    """The person's id; None when the address has an account."""
    statement = (
        insert(User)
        .values(
            id=tx.user_id,
            email=email,
            password_hash=hashed,
            email_verified_at=now,
            password_changed_at=now,
            status="active",
            created_at=now,
        )
        .on_conflict_do_nothing(index_elements=["email"])
        .returning(col(User.id))
    )
    return (await tx.execute(statement)).scalar_one_or_none()
