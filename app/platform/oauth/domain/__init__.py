"""Decides the rules: which keys sign, what a token grants and until when; `clients` what a client may be."""

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from app.kernel.errors import DomainError, Kind, conflict
from app.kernel.ids import decode_id
from app.kernel.orders import Mode
from app.platform.oauth.domain.clients import AuthMethod as AuthMethod
from app.platform.oauth.domain.clients import GrantType as GrantType
from app.platform.oauth.domain.clients import NewClient as NewClient
from app.platform.oauth.domain.clients import StoredClient as StoredClient
from app.platform.oauth.domain.clients import check_client as check_client

ACCESS_LIFE = timedelta(minutes=5)
ID_TOKEN_LIFE = timedelta(minutes=5)
CODE_LIFE = timedelta(minutes=1)
REFRESH_LIFE = timedelta(days=30)
REFRESH_GRACE = timedelta(seconds=10)
"""How long after its use a refresh token may come again, unpunished: its answer may have been lost on the way."""

JWKS_MAX_AGE = timedelta(minutes=5)
PUBLISHED_AHEAD = 2 * JWKS_MAX_AGE
"""How long a key is published before it signs: every cache of the key set has met it by then."""

RETIRING = ACCESS_LIFE + ID_TOKEN_LIFE + JWKS_MAX_AGE
"""How long a key that no longer signs stays published: longer than whatever it signed."""

ACCESS_ALGORITHM = "ES256"
ID_ALGORITHM = "RS256"
ALGORITHMS = (ACCESS_ALGORITHM, ID_ALGORITHM)
CLIENT_ALGORITHMS = ("ES256", "RS256", "PS256")
"""What clients may sign assertions with. Never a symmetric one: our public keys would do as its secret."""

CLIENT = "ocl"
USER = "usr"
TENANT = "ten"
IDENTITY_SCOPES: dict[str, str] = {"openid": "Know who you are.", "email": "See your e-mail address."}
"""Scopes about the person; every other scope is a permission of `identity`."""

MAX_TOKEN = 4096
_JWT = re.compile(r"[A-Za-z0-9_-]{1,2048}\.[A-Za-z0-9_-]{1,3072}\.[A-Za-z0-9_-]{1,1024}", re.ASCII)


# --- Signing keys ---------------------------------------------------------------------------------------------------


class KeyState(StrEnum):
    """`next` is published and does not sign yet; `retiring` is published and signs no more; `gone` is neither."""

    NEXT = "next"
    ACTIVE = "active"
    RETIRING = "retiring"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """What a rotation must know of a key."""

    kid: str
    state: KeyState
    created_at: datetime
    retired_at: datetime | None


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation does: moves of existing keys, and the states of those to be made."""

    moves: tuple[tuple[str, KeyState], ...]
    new: tuple[KeyState, ...]


def plan_rotation(keys: Sequence[KeyFacts], *, now: datetime, compromised: bool = False) -> Rotation:
    """The next step for the keys of one algorithm. The first time: one that signs and one that will.

    `compromised`: the key that signs is gone at once, and its tokens with it. Raises `next_key_too_young`.
    """
    active = [key for key in keys if key.state is KeyState.ACTIVE]
    following = [key for key in keys if key.state is KeyState.NEXT]
    if not active:
        return Rotation((), (KeyState.ACTIVE,) if following else (KeyState.ACTIVE, KeyState.NEXT))
    ready_at = following[0].created_at + PUBLISHED_AHEAD if following else now
    if ready_at > now and not compromised:
        raise conflict(
            "next_key_too_young",
            f"The next key must be published until {ready_at.isoformat()} before it signs: clients cache the key set. "
            "Wait, or say --compromised if the present key is known to others.",
        )
    moves = [(key.kid, KeyState.GONE if compromised else KeyState.RETIRING) for key in active]
    moves += [(key.kid, KeyState.ACTIVE) for key in following]
    moves += [
        (key.kid, KeyState.GONE)
        for key in keys
        if key.state is KeyState.RETIRING and not is_published(key.state, key.retired_at, now=now)
    ]
    return Rotation(tuple(moves), (KeyState.NEXT,) if following else (KeyState.ACTIVE, KeyState.NEXT))


def is_published(state: KeyState, retired_at: datetime | None, *, now: datetime) -> bool:
    """Whether the key set shows the key, and tokens signed by it verify."""
    if state is KeyState.RETIRING:
        return retired_at is not None and now < retired_at + RETIRING
    return state is not KeyState.GONE


# --- Scopes and tokens ----------------------------------------------------------------------------------------------


def grant_scopes(requested: str | None, allowed: Collection[str], held: Collection[str]) -> tuple[str, ...]:
    """Requested ∩ the client's ∩ the person's, sorted; without a request, all of the client's. May be empty."""
    wanted = set(allowed) if not requested or not requested.strip() else set(requested.split())
    return tuple(sorted(wanted & set(allowed) & (set(held) | IDENTITY_SCOPES.keys())))


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What a verified access token says. The epochs are the generations of tenant, client and person that it
    belongs to; see `marks`."""

    tenant_id: UUID
    client_ref: UUID
    client_id: str
    scopes: frozenset[str]
    mode: Mode
    jti: str
    kid: str
    issued_at: datetime
    expires_at: datetime
    epoch: int
    client_epoch: int = 0
    user_id: UUID | None = None
    user_epoch: int = 0
    grant_id: UUID | None = None
    session_id: str | None = None
    auth_time: datetime | None = None

    def marks(self) -> tuple[str, ...]:
        """Every mark that would end this token, were it on the denylist."""
        found = [
            token_mark(self.jti),
            client_mark(self.client_ref),
            epoch_mark(self.tenant_id, self.epoch),
            epoch_mark(self.client_ref, self.client_epoch, within=self.tenant_id),
        ]
        if self.user_id is not None:
            found.append(epoch_mark(self.user_id, self.user_epoch, within=self.tenant_id))
        if self.grant_id is not None:
            found.append(grant_mark(self.grant_id))
        if self.session_id is not None:
            found.append(session_mark(self.session_id))
        return tuple(found)


def token_mark(jti: str) -> str:
    return f"jti:{jti}"


def grant_mark(grant_id: UUID) -> str:
    return f"grant:{grant_id}"


def session_mark(session_id: str) -> str:
    """Ends every token that came of one login, in all tenants."""
    return f"session:{session_id}"


def client_mark(client_ref: UUID) -> str:
    return f"client:{client_ref}"


def epoch_mark(subject: UUID, epoch: int, *, within: UUID | None = None) -> str:
    """Ends every token of `subject` (a tenant, or a client or person `within` one) that was made in this epoch."""
    return f"epoch:{within or subject}:{subject}:{epoch}"


def is_token_shaped(credential: str) -> bool:
    """Whether a bearer credential looks like a JWT; an API key never does."""
    return credential.count(".") == 2


def check_token_form(credential: str) -> str:
    """`credential` when it can be a token of ours by its form. Raises `invalid_token`."""
    if len(credential) > MAX_TOKEN or not _JWT.fullmatch(credential):
        raise refused_token()
    return credential


def read_access_token(
    header: Mapping[str, Any], claims: Mapping[str, Any], *, issuer: str, now: datetime
) -> AccessToken:
    """The token of a header and claims whose signature is good. Raises `invalid_token`, `token_expired`."""
    if header.get("typ") != "at+jwt" or claims.get("iss") != issuer or claims.get("aud") != issuer:
        raise refused_token()
    try:
        user = claims.get("uid")
        token = AccessToken(
            tenant_id=decode_id(TENANT, claims["tid"]),
            client_ref=decode_id(CLIENT, claims["cid"]),
            client_id=_text(claims["client_id"]),
            scopes=frozenset(_text(claims["scope"]).split()),
            mode=Mode(claims["mode"]),
            jti=_text(claims["jti"]),
            kid=_text(header["kid"]),
            issued_at=datetime.fromtimestamp(_number(claims["iat"]), UTC),
            expires_at=datetime.fromtimestamp(_number(claims["exp"]), UTC),
            epoch=_number(claims["epoch"]),
            client_epoch=_number(claims.get("client_epoch", 0)),
            user_id=None if user is None else decode_id(USER, user),
            user_epoch=_number(claims.get("user_epoch", 0)),
            grant_id=None if claims.get("grant") is None else UUID(claims["grant"]),
            session_id=None if claims.get("sid") is None else _text(claims["sid"]),
            auth_time=None
            if claims.get("auth_time") is None
            else datetime.fromtimestamp(_number(claims["auth_time"]), UTC),
        )
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError, OSError, DomainError):
        raise refused_token() from None
    check_in_force(token, now=now)
    return token


def check_in_force(token: AccessToken, *, now: datetime) -> None:
    """Raises `token_expired`."""
    if token.expires_at <= now:
        raise DomainError(
            "token_expired", Kind.UNAUTHENTICATED, "This access token has expired. Get a new one at the token endpoint."
        )


def refused_token() -> DomainError:
    """One answer for every token that is not ours or was changed: nothing tells which."""
    return DomainError(
        "invalid_token", Kind.UNAUTHENTICATED, "This access token is not in force. Get a new one at the token endpoint."
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return value


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("not a whole number")
    return value


# --- Refresh tokens -------------------------------------------------------------------------------------------------


class RefreshVerdict(StrEnum):
    """`repeated`: refused, and nothing else. `reused`: refused, and everything that came of the grant ends."""

    GOOD = "good"
    REPEATED = "repeated"
    REUSED = "reused"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class RefreshFacts:
    """A refresh token as stored, its grant, and whether the token that replaced it was used."""

    expires_at: datetime
    used_at: datetime | None
    successor_used: bool
    grant_revoked: bool


def judge_refresh(facts: RefreshFacts, *, now: datetime) -> RefreshVerdict:
    """Whether a refresh token may be exchanged."""
    if facts.grant_revoked or facts.expires_at <= now:
        return RefreshVerdict.OVER
    if facts.used_at is None:
        return RefreshVerdict.GOOD
    if not facts.successor_used and now - facts.used_at <= REFRESH_GRACE:
        return RefreshVerdict.REPEATED
    return RefreshVerdict.REUSED


def hash_secret(text: str) -> bytes:
    """SHA-256: what is hashed here carries 256 random bits, so no slow hash is needed."""
    return hashlib.sha256(text.encode()).digest()
