"""The authorization server's rules, without a server."""

from datetime import UTC, datetime, timedelta

import pytest
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from app.kernel.errors import DomainError
from app.platform.oauth.domain import (
    ACCESS_LIFE,
    JWKS_MAX_AGE,
    REFRESH_GRACE,
    RETIRING,
    AuthMethod,
    GrantType,
    KeyFacts,
    KeyState,
    NewClient,
    RefreshFacts,
    RefreshVerdict,
    check_client,
    grant_scopes,
    judge_refresh,
    plan_rotation,
)
from app.platform.oauth.service.signing import Signer

NOW = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "uri",
    [
        "http://app.example/cb",
        "https://app.example/cb#part",
        "https://*.example/cb",
        "https://app.example/*",
        "https://user@app.example/cb",
        "https://app.example\\@evil.example/cb",
        "https://APP.example/cb",
        "javascript:alert(1)",
        "data:text/html,x",
        "app:/cb",
        "http://localhost/cb",
        "http://127.0.0.1.evil.example/cb",
        "https://app.example/c b",
        'https://app.example/"cb',
        "https://",
        "",
        "https://app.example/" + "a" * 400,
    ],
)
def test_a_redirect_uri_that_could_lead_elsewhere_is_refused(uri: str) -> None:
    with pytest.raises(DomainError, match="redirect_uris are https"):
        check_client(NewClient("x", AuthMethod.NONE, (GrantType.CODE,), ("openid",), redirect_uris=(uri,)))


def test_scopes_are_what_was_asked_allowed_and_held() -> None:
    allowed, held = ("openid", "orders:read", "orders:write"), {"orders:read", "bars:read"}
    assert grant_scopes("openid orders:read orders:write bars:read email", allowed, held) == ("openid", "orders:read")
    assert grant_scopes(None, allowed, held) == ("openid", "orders:read")
    assert grant_scopes("  ", allowed, held) == ("openid", "orders:read")
    assert grant_scopes("bars:read", allowed, held) == ()


def test_a_retiring_key_outlives_what_it_signed_and_who_cached_it() -> None:
    assert RETIRING >= ACCESS_LIFE + JWKS_MAX_AGE


def test_a_rotation_without_a_next_key_makes_one_that_signs() -> None:
    alone = [KeyFacts("a", KeyState.ACTIVE, NOW, None)]
    plan = plan_rotation(alone, now=NOW)
    assert plan.moves == (("a", KeyState.RETIRING),)
    assert plan.new == (KeyState.ACTIVE, KeyState.NEXT)
    waiting = [KeyFacts("n", KeyState.NEXT, NOW, None)]
    assert plan_rotation(waiting, now=NOW).new == (KeyState.ACTIVE,)


def _facts(**change: object) -> RefreshFacts:
    usual = {
        "expires_at": NOW + timedelta(days=1),
        "used_at": None,
        "successor_used": False,
        "grant_revoked": False,
    }
    return RefreshFacts(**(usual | change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, RefreshVerdict.GOOD),
        ({"expires_at": NOW}, RefreshVerdict.OVER),
        ({"grant_revoked": True}, RefreshVerdict.OVER),
        ({"used_at": NOW}, RefreshVerdict.REPEATED),
        ({"used_at": NOW - REFRESH_GRACE}, RefreshVerdict.REPEATED),
        ({"used_at": NOW - REFRESH_GRACE - timedelta(microseconds=1)}, RefreshVerdict.REUSED),
        ({"used_at": NOW, "successor_used": True}, RefreshVerdict.REUSED),
    ],
)
def test_a_refresh_token_is_judged(change: dict[str, object], verdict: RefreshVerdict) -> None:
    assert judge_refresh(_facts(**change), now=NOW) is verdict


@pytest.mark.parametrize(
    ("algorithm", "key"), [("ES256", ECKey.generate_key("P-256")), ("RS256", RSAKey.generate_key(2048))]
)
def test_a_signer_says_what_the_library_would_and_its_key_verifies(algorithm: str, key: ECKey | RSAKey) -> None:
    header, claims = {"alg": algorithm, "kid": "k1", "typ": "at+jwt"}, {"sub": "Ravi é", "exp": 1, "scope": "a b"}
    library = jwt.encode(header, claims, key, algorithms=[algorithm])
    for token in (Signer("k1", algorithm, key).sign(claims, typ="at+jwt"), library):
        found = jwt.decode(token, key, algorithms=[algorithm])
        assert (found.header, found.claims) == (header, claims)
        assert "=" not in token
    public = type(key).import_key(key.as_dict(private=False))
    with pytest.raises(JoseError):
        jwt.decode(library[:-4] + "AAAA", public, algorithms=[algorithm])
