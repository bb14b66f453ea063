"""Decides what an access token holds (RFC 9068) and how one is verified: algorithm and key named, never guessed."""

import secrets
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from joserfc import jws, jwt
from joserfc.errors import JoseError

from app.kernel.ids import encode_id
from app.platform.oauth.domain import (
    ACCESS_ALGORITHM,
    ACCESS_LIFE,
    CLIENT,
    TENANT,
    USER,
    AccessToken,
    StoredClient,
    check_token_form,
    read_access_token,
    refused_token,
)
from app.platform.oauth.service.signing import Keyring

MALFORMED = (JoseError, ValueError, TypeError, KeyError, AttributeError)
"""What the JOSE library raises on input that an attacker shapes."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The person behind a token, the grant that they gave, and when they had proved who they are."""

    user_id: UUID
    grant_id: UUID
    session_id: str
    auth_time: datetime


def mint_access_token(
    ring: Keyring,
    client: StoredClient,
    scopes: "list[str] | tuple[str, ...]",
    *,
    issuer: str,
    now: datetime,
    subject: Subject | None = None,
    user_epoch: int = 0,
) -> str:
    """A signed `at+jwt`. `user_epoch`: the person's present one."""
    issued = int(now.timestamp())
    claims: dict[str, object] = {
        "iss": issuer,
        "aud": issuer,
        "sub": client.client_id,
        "client_id": client.client_id,
        "cid": encode_id(CLIENT, client.id),
        "tid": encode_id(TENANT, client.tenant_id),
        "mode": client.mode,
        "scope": " ".join(scopes),
        "jti": secrets.token_urlsafe(16),
        "iat": issued,
        "exp": issued + int(ACCESS_LIFE.total_seconds()),
        "epoch": client.tenant_epoch,
        "client_epoch": client.client_epoch,
    }
    if subject is not None:
        user = encode_id(USER, subject.user_id)
        claims |= {
            "sub": user,
            "uid": user,
            "user_epoch": user_epoch,
            "grant": str(subject.grant_id),
            "sid": subject.session_id,
            "auth_time": int(subject.auth_time.timestamp()),
        }
    return ring.signer(ACCESS_ALGORITHM).sign(claims, typ="at+jwt")


def verify_access_token(credential: str, ring: Keyring, *, issuer: str, now: datetime) -> AccessToken:
    """The token, when one of our published ES256 keys signed it and it is in force; says nothing of revocation.

    Raises `invalid_token`, `token_expired`.
    """
    text = check_token_form(credential)
    try:
        header = jws.extract_compact(text.encode()).headers()
        key = ring.verifier(header.get("kid"), ACCESS_ALGORITHM)
        if header.get("alg") != ACCESS_ALGORITHM or key is None:
            raise refused_token()
        found = jwt.decode(text, key, algorithms=[ACCESS_ALGORITHM])
    except MALFORMED:
        raise refused_token() from None
    return read_access_token(found.header, found.claims, issuer=issuer, now=now)
