"""Decides how a second factor is set up, proven and given up. A code is taken once, however many send it at once."""

import secrets
from dataclasses import dataclass
from datetime import datetime

import segno
import structlog
from sqlmodel import col, delete, func, or_, select, update

from app.infra.database import PersonTx
from app.kernel.errors import DomainError, Kind, conflict
from app.platform.people.domain import (
    RECOVERY_CODES,
    Person,
    Session,
    format_recovery_code,
    hash_token,
    matching_step,
    normal_recovery_code,
    require_recent,
    totp_text,
    totp_uri,
)
from app.platform.people.service.mail import request_mail
from app.platform.people.service.people import People
from app.platform.people.tables import RecoveryCode, User

ISSUER = "Mandi"
SECRET_BYTES = 20  # the length of SHA-1's output, as RFC 4226 recommends
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A new TOTP secret, shown this once: as text, and as a QR code in SVG."""

    text: str
    qr_svg: str

    def __repr__(self) -> str:
        return "Enrolment()"


@dataclass(frozen=True, slots=True)
class Proof:
    """A code that is right but not taken yet: a time step of TOTP, or a recovery code's hash."""

    method: str
    step: int | None = None
    code_hash: bytes | None = None


async def begin_totp(people: People, person: Person, session: Session, *, now: datetime) -> Enrolment:
    """A fresh secret, not in force until a code of it is given. Raises `step_up_required`, `totp_in_force`."""
    require_recent(session, now=now)
    secret = secrets.token_bytes(SECRET_BYTES)
    sealed = await people.sealer.seal(secret, context=_context(person))
    async with people.database.person(person.id) as tx:
        changed = await tx.execute(
            update(User)
            .where(col(User.id) == person.id, col(User.totp_confirmed_at).is_(None))
            .values(totp_secret=sealed, totp_last_step=None)
            .returning(col(User.id))
        )
        if changed.first() is None:
            raise conflict("totp_in_force", "An authenticator is set up already. Remove it first.")
    uri = totp_uri(secret, email=person.email, issuer=ISSUER)
    picture = segno.make(uri, error="m").svg_inline(scale=4, border=4, dark="#000", light="#fff")
    return Enrolment(totp_text(secret), picture)


async def confirm_totp(people: People, person: Person, session: Session, code: str, *, now: datetime) -> list[str]:
    """Put the secret in force by a first code; ten recovery codes, shown this once.

    Raises `step_up_required`, `wrong_code`, `no_totp` when none was begun.
    """
    require_recent(session, now=now)
    async with people.database.person(person.id) as tx:
        user = await tx.get(User, person.id)
    if user is None or user.totp_secret is None or user.totp_confirmed_at is not None:
        raise conflict("no_totp", "Begin again: no authenticator waits for its first code.")
    secret = await people.sealer.unseal(user.totp_secret, context=_context(person))
    step = matching_step(secret, code, now=now, last_step=None)
    if step is None:
        raise wrong_code()
    async with people.database.person(person.id) as tx:
        changed = await tx.execute(
            update(User)
            .where(
                col(User.id) == person.id,
                col(User.totp_confirmed_at).is_(None),
                col(User.totp_secret) == user.totp_secret,
            )
            .values(totp_confirmed_at=now, totp_last_step=step)
            .returning(col(User.id))
        )
        if changed.first() is None:
            raise conflict("no_totp", "Begin again: the authenticator was changed meanwhile.")
        codes = await _replace_recovery_codes(tx, now=now)
        request_mail(tx, "security_changed", person.email, now=now)
    people.mail_due.set()
    log.info("second_factor.added", user_id=str(person.id))
    return codes


async def remove_totp(people: People, person: Person, session: Session, *, now: datetime) -> None:
    """Give the second factor up, with its recovery codes. Raises `step_up_required`."""
    require_recent(session, now=now)
    async with people.database.person(person.id) as tx:
        await tx.execute(
            update(User)
            .where(col(User.id) == person.id)
            .values(totp_secret=None, totp_confirmed_at=None, totp_last_step=None)
        )
        await tx.execute(delete(RecoveryCode).where(col(RecoveryCode.user_id) == person.id))
        request_mail(tx, "security_changed", person.email, now=now)
    people.mail_due.set()
    log.info("second_factor.removed", user_id=str(person.id))


async def new_recovery_codes(people: People, person: Person, session: Session, *, now: datetime) -> list[str]:
    """Ten new recovery codes; the old ones end. Raises `step_up_required`, `no_totp`."""
    require_recent(session, now=now)
    async with people.database.person(person.id) as tx:
        in_force = select(User.id).where(col(User.id) == person.id, col(User.totp_confirmed_at).is_not(None))
        if (await tx.execute(in_force.with_for_update())).first() is None:
            raise conflict("no_totp", "Set up an authenticator first: recovery codes stand in for it.")
        codes = await _replace_recovery_codes(tx, now=now)
        request_mail(tx, "security_changed", person.email, now=now)
    people.mail_due.set()
    return codes


async def recovery_codes_left(people: People, person: Person) -> int:
    """How many recovery codes are unused."""
    statement = select(func.count()).select_from(RecoveryCode).where(col(RecoveryCode.used_at).is_(None))
    async with people.database.person(person.id) as tx:
        return int((await tx.execute(statement)).scalar_one())


async def check_code(people: People, person: Person, code: str, *, now: datetime) -> Proof:
    """The proof that `code` is, unless it is wrong or used: `take_proof` decides in its transaction.

    Raises `wrong_code`.
    """
    recovery = normal_recovery_code(code)
    if recovery is not None:
        return Proof("recovery", code_hash=hash_token(recovery))
    async with people.database.person(person.id) as tx:
        user = await tx.get(User, person.id)
    if user is None or user.totp_secret is None or user.totp_confirmed_at is None:
        raise wrong_code()
    secret = await people.sealer.unseal(user.totp_secret, context=_context(person))
    step = matching_step(secret, code, now=now, last_step=user.totp_last_step)
    if step is None:
        raise wrong_code()
    return Proof("otp", step=step)


async def take_proof(tx: PersonTx, proof: Proof, *, now: datetime) -> None:
    """Use `proof` up. Of several that bring the same one at once, all but one get `wrong_code`."""
    if proof.code_hash is not None:
        taken = await tx.execute(
            update(RecoveryCode)
            .where(
                col(RecoveryCode.user_id) == tx.user_id,
                col(RecoveryCode.code_hash) == proof.code_hash,
                col(RecoveryCode.used_at).is_(None),
            )
            .values(used_at=now)
            .returning(col(RecoveryCode.id))
        )
    else:
        taken = await tx.execute(
            update(User)
            .where(
                col(User.id) == tx.user_id,
                col(User.totp_confirmed_at).is_not(None),
                or_(col(User.totp_last_step).is_(None), col(User.totp_last_step) < proof.step),
            )
            .values(totp_last_step=proof.step)
            .returning(col(User.id))
        )
    if taken.first() is None:
        raise wrong_code()


def wrong_code() -> DomainError:
    """One answer for a wrong, an old and a used code."""
    return DomainError(
        "wrong_code",
        Kind.UNAUTHENTICATED,
        "This code is wrong, used or too old. Wait for the next one; if all fail, check your device's clock.",
        param="code",
    )


async def _replace_recovery_codes(tx: PersonTx, *, now: datetime) -> list[str]:
    codes = [format_recovery_code(secrets.token_bytes(10)) for _ in range(RECOVERY_CODES)]
    await tx.execute(delete(RecoveryCode).where(col(RecoveryCode.user_id) == tx.user_id))
    for code in codes:
        tx.add(RecoveryCode(user_id=tx.user_id, code_hash=hash_token(code), created_at=now))
    await tx.flush()
    return codes


def _context(person: Person) -> bytes:
    return f"users|totp_secret|{person.id}".encode()
