"""Decides what a good password is, which code is due, how often one may try, and how long a login lasts. Pure."""

import base64
import hashlib
import hmac
import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from uuid import UUID

import pyotp

from app.kernel.errors import DomainError, Kind, invalid
from app.platform.tenancy.domain import RECENT_LOGIN

MIN_PASSWORD = 12
MAX_PASSWORD = 128
MIN_DIFFERENT = 5
IDLE = timedelta(hours=12)
ABSOLUTE = timedelta(days=7)
SECOND_FACTOR_WAIT = timedelta(minutes=10)
SEEN_EVERY = timedelta(minutes=1)
RECENT_SECONDS = int(RECENT_LOGIN.total_seconds())
"""How long a proof of identity counts as fresh for what is dangerous: keys, second factors, live mode."""

SIGN_UP_VALID = timedelta(hours=24)
RESET_VALID = timedelta(minutes=30)
RECOVERY_CODES = 10
STEP_SECONDS = 30
_CODE = re.compile(r"[0-9]{6}", re.ASCII)
_NOT_LETTERS = re.compile(r"[^a-z]+")
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base32: no i, l, o, u

_MISREAD = str.maketrans("ilo", "110")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a login. `second_factor` says that TOTP is in force."""

    id: UUID
    email: str
    status: str
    second_factor: bool


@dataclass(frozen=True, slots=True)
class Session:
    """A login. `amr` lists what was proven (RFC 8176: pwd, otp, mfa; `recovery` for a recovery code), `auth_time` when.

    A session that is `pending` waits for the second factor and opens nothing else.
    """

    id: UUID
    user_id: UUID
    pending: bool
    auth_time: datetime
    amr: tuple[str, ...]
    last_seen_at: datetime
    expires_at: datetime


# --- passwords -----------------------------------------------------------------------------------------------------


def check_password(password: str, *, email: str, common: Collection[str]) -> str:
    """`password` when it may be chosen. `common` holds lower-case passwords and words.

    Raises `password_too_short`, `password_too_long`, `password_is_email`, `password_too_common`.
    """
    if len(password) < MIN_PASSWORD:
        raise invalid("password_too_short", f"The password needs at least {MIN_PASSWORD} characters.", param="password")
    if len(password) > MAX_PASSWORD:
        raise invalid("password_too_long", f"The password has at most {MAX_PASSWORD} characters.", param="password")
    folded = password.casefold()
    name = email.casefold().partition("@")[0]
    if folded == email.casefold() or folded.strip("0123456789!?.@#$ _-") == name:
        raise invalid("password_is_email", "Choose a password that is not your e-mail address.", param="password")
    if _is_common(folded, common):
        raise invalid(
            "password_too_common",
            "This password is among the first that anybody tries. Choose several unrelated words.",
            param="password",
        )
    return password


def _is_common(folded: str, common: Collection[str]) -> bool:
    """The list itself, a listed word with figures and signs around it or repeated, a run, or too few characters."""
    if folded in common or len(set(folded)) < MIN_DIFFERENT:
        return True
    letters = _NOT_LETTERS.sub("", folded)
    if letters in common:
        return True
    for length in range(1, len(folded) // 2 + 1):
        if len(folded) % length == 0 and folded == folded[:length] * (len(folded) // length):
            return True
    steps = {ord(after) - ord(before) for before, after in pairwise(folded)}
    return steps in ({1}, {-1})


# --- tokens and codes ----------------------------------------------------------------------------------------------


def hash_token(token: str) -> bytes:
    """SHA-256: tokens carry 256 random bits and recovery codes 80, so no slow hash is needed."""
    return hashlib.sha256(token.encode()).digest()


def format_recovery_code(random: bytes) -> str:
    """Sixteen characters in groups of four, from ten random bytes."""
    number = int.from_bytes(random)
    text = "".join(_ALPHABET[number >> 5 * place & 31] for place in range(16))
    return "-".join(text[start : start + 4] for start in range(0, 16, 4))


def normal_recovery_code(typed: str) -> str | None:
    """`typed` as codes are hashed; None when it cannot be one."""
    text = "".join(typed.lower().split()).replace("-", "").translate(_MISREAD)
    if len(text) != 16 or any(character not in _ALPHABET for character in text):
        return None
    return "-".join(text[start : start + 4] for start in range(0, 16, 4))


def totp_uri(secret: bytes, *, email: str, issuer: str) -> str:
    """The `otpauth://` address that authenticator apps read."""
    return pyotp.TOTP(totp_text(secret)).provisioning_uri(name=email, issuer_name=issuer)


def totp_text(secret: bytes) -> str:
    """The secret as it is typed by hand: base32."""
    return base64.b32encode(secret).decode().rstrip("=")


def time_step(now: datetime) -> int:
    """The number of the 30 seconds that `now` lies in (RFC 6238)."""
    return int(now.timestamp()) // STEP_SECONDS


def matching_step(secret: bytes, code: str, *, now: datetime, last_step: int | None) -> int | None:
    """The time step that `code` belongs to: the present one or a neighbour, and later than `last_step`.

    A code that was used, or any older one, matches nothing. All three steps are compared in any case.
    """
    typed = code.replace(" ", "")
    if not _CODE.fullmatch(typed):
        return None
    otp = pyotp.TOTP(totp_text(secret))
    here = time_step(now)
    found = None
    for step in (here - 1, here, here + 1):
        if hmac.compare_digest(otp.generate_otp(step), typed) and (last_step is None or step > last_step):
            found = step
    return found


# --- sessions ------------------------------------------------------------------------------------------------------


def is_in_force(*, last_seen_at: datetime, expires_at: datetime, ended_at: datetime | None, now: datetime) -> bool:
    """Whether a session still counts: not ended, not idle for too long, not too old."""
    return ended_at is None and now < expires_at and now < last_seen_at + IDLE


def require_recent(session: Session, seconds: int = RECENT_SECONDS, *, now: datetime) -> None:
    """Raises `step_up_required` unless the person proved who they are within the last `seconds`."""
    if session.pending or now - session.auth_time > timedelta(seconds=seconds):
        raise DomainError(
            "step_up_required",
            Kind.FORBIDDEN,
            "This needs a fresh proof that it is you: confirm at /account/confirm, then repeat it.",
        )


_BROWSERS = {"Edg": "Edge", "OPR": "Opera", "Firefox": "Firefox", "FxiOS": "Firefox", "Chrome": "Chrome"}
_BROWSERS |= {"CriOS": "Chrome", "Safari": "Safari"}
_SYSTEMS = {"iPhone": "iPhone", "iPad": "iPad", "Android": "Android", "Windows": "Windows", "Macintosh": "Mac"}
_SYSTEMS |= {"CrOS": "ChromeOS", "Linux": "Linux"}


def browser_name(user_agent: str | None) -> str:
    """`Firefox on Linux`: what a person recognises. What calls itself otherwise keeps the start of its own name."""
    said = user_agent or ""
    browser = next((name for mark, name in _BROWSERS.items() if f"{mark}/" in said), None)
    system = next((name for mark, name in _SYSTEMS.items() if mark in said), None)
    if browser is None:
        own = "" if said.startswith("Mozilla/") else said.partition(" ")[0][:40]
        browser = own or "Unknown browser"
    return f"{browser} on {system}" if system else browser


# --- throttling ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rule:
    """At most `amount` attempts in `seconds` for one `key`."""

    amount: int
    seconds: int
    key: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What an attempt must pass. All `rules` must admit it; when `account` is used up, `slow` must admit it instead."""

    rules: tuple[Rule, ...]
    account: Rule | None = None
    slow: Rule | None = None
    forgiven: tuple[Rule, ...] = ()
    """What a success resets."""


def network_of(ip: str | None) -> str:
    """The /24 (IPv4) or /56 (IPv6) that `ip` lies in: what one attacker has cheaply."""
    try:
        address = ipaddress.ip_address(ip or "")
    except ValueError:
        return "unknown"
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    prefix = 24 if address.version == 4 else 56
    return str(ipaddress.ip_network(f"{address}/{prefix}", strict=False))


def plan_attempt(what: str, account: str, *, ip: str | None, device: str | None) -> Plan:
    """The limits of one attempt at a secret of `account` (`what` is "password" or "code").

    A known `device` is counted apart and by nothing else, so nobody elsewhere can use up its owner's attempts. Others
    are limited per network, per account and network, and, beyond a rate for the account as a whole, slowed to one
    attempt for all of them in a while: slow enough against guessing, and never a lock.
    """
    if device is not None:
        own = Rule(10, 900, ("device", what, account, device))
        rate = Rule(60, 600, ("device_rate", what, account, device))  # successes cost work, too
        return Plan((rate, own), forgiven=(own,))
    network = network_of(ip)
    pair = Rule(10, 900, ("pair", what, account, network))
    rules = (Rule(100, 600, ("network", what, network)), pair)
    hourly, pause = (60, 10) if what == "password" else (20, 60)
    return Plan(
        rules,
        account=Rule(hourly, 3600, ("account", what, account)),
        slow=Rule(1, pause, ("slow", what, account)),
        forgiven=(pair,),
    )


def plan_mail(email: str, *, ip: str | None) -> Plan:
    """The limits of asking for a mail to `email`, whether or not it has an account."""
    network = network_of(ip)
    return Plan((Rule(20, 3600, ("mails", network)), Rule(5, 3600, ("mail", email, network))))


def plan_hash(ip: str | None) -> Plan:
    """The limit of work for a new password, by whoever holds a token."""
    return Plan((Rule(30, 600, ("hash", network_of(ip))),))
