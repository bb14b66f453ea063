"""People and their grants: login, consent, codes, refresh tokens, id tokens, and everything that must not work."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from joserfc import jwt
from joserfc.jwk import KeySet
from sqlalchemy import text

from app.infra.database import Database
from app.infra.settings import Settings
from app.main import create_app
from app.platform.oauth.domain import AuthMethod, GrantType
from app.platform.oauth.service import IssuedClient, end_person_tokens, end_session_tokens
from tests.factories.oauth import (
    CALLBACK,
    ISSUER,
    Browser,
    Door,
    asking,
    basic,
    bearer,
    make_client,
    query_of,
    redeem,
    refresh,
)
from tests.factories.tenants import make_tenant

pytestmark = pytest.mark.asyncio
HELD = frozenset({"orders:read", "tenant:read"})


@dataclass
class Scene:
    """A gateway with a login; a tenant, its client and a member who signed in."""

    app: FastAPI
    http: httpx.AsyncClient
    database: Database
    door: Door
    tenant_id: UUID
    client: IssuedClient
    browser: Browser

    @property
    def user_id(self) -> UUID:
        return self.door.sessions[self.browser.cookie or ""].user_id

    async def another_client(self, method: AuthMethod = AuthMethod.NONE) -> IssuedClient:
        return await make_client(
            self.database,
            self.tenant_id,
            method=method,
            grants=(GrantType.CODE, GrantType.REFRESH),
            scopes=("openid", "email", "orders:read", "orders:write", "tenant:read"),
            redirect_uris=(CALLBACK, "com.example.app:/cb"),
        )

    async def code(self, client: IssuedClient | None = None, **params: str | None) -> str:
        """A code, after the person has allowed what the client asks."""
        page = await self.browser.open(**asking(client or self.client, **params))
        answer = page if page.status_code == 303 else await self.browser.answer(page)
        assert answer.status_code == 303, answer.text
        return query_of(answer.headers["Location"])["code"]

    async def tokens(self, client: IssuedClient | None = None, **params: str | None) -> dict[str, Any]:
        answer = await redeem(self.http, client or self.client, await self.code(client, **params))
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def opens(self, token: str) -> int:
        return (await self.http.get("/v1/orders", headers=bearer(token))).status_code

    async def age(self, table: str, column: str, seconds: float) -> None:
        """Let time pass for the tenant's rows of `table`."""
        async with self.database.tx(self.tenant_id) as tx:
            await tx.execute(
                text(f"update {table} set {column} = {column} - make_interval(secs => :s)"), {"s": seconds}
            )


@pytest_asyncio.fixture
async def scene(app_settings: Settings, database: Database) -> AsyncIterator[Scene]:
    door = Door()
    app = create_app(app_settings, login=door)
    async with (
        LifespanManager(app, startup_timeout=30, shutdown_timeout=30),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gateway") as http,
    ):
        tenant = await make_tenant(database)
        browser = Browser(http, door.sign_in(tenant.tenant_id, permissions=HELD))
        made = Scene(app, http, database, door, tenant.tenant_id, None, browser)  # type: ignore[arg-type]
        made.client = await made.another_client(AuthMethod.BASIC)
        yield made


# --- Consent --------------------------------------------------------------------------------------------------------


async def test_a_person_is_asked_and_the_client_gets_what_they_hold(scene: Scene) -> None:
    page = await scene.browser.open(**asking(scene.client, scope="openid orders:read orders:write members:read"))
    assert page.status_code == 200
    assert "Read orders and fills." in page.text
    assert "orders:write" not in page.text, "the person does not hold it"
    assert "members:read" not in page.text, "the client may not ask for it"
    answer = await scene.browser.answer(page)
    assert answer.status_code == 303
    back = query_of(answer.headers["Location"])
    assert answer.headers["Location"].startswith(f"{CALLBACK}?")
    assert (back["state"], back["iss"]) == ("st-1", ISSUER)
    got = (await redeem(scene.http, scene.client, back["code"])).json()
    assert got["scope"] == "openid orders:read"
    assert await scene.opens(got["access_token"]) == 200
    refused = await scene.http.get("/v1/tenant", headers=bearer(got["access_token"]))
    assert refused.json()["code"] == "missing_scope"


async def test_whoever_denies_sends_the_client_away(scene: Scene) -> None:
    page = await scene.browser.open(**asking(scene.client))
    answer = await scene.browser.answer(page, "deny")
    back = query_of(answer.headers["Location"])
    assert (back["error"], back["state"], back["iss"]) == ("access_denied", "st-1", ISSUER)
    assert "code" not in back


async def test_an_answer_counts_only_from_the_page_that_asked(scene: Scene) -> None:
    page = await scene.browser.open(**asking(scene.client))
    other = await scene.browser.open(**asking(scene.client, state="another"))
    wrong = await scene.browser.answer(page, proof="0" * 64)
    assert (wrong.status_code, wrong.headers.get("Location")) == (403, None)
    swapped = re.search(r'value="([0-9a-f]{64})"', other.text)
    assert swapped is not None
    assert (await scene.browser.answer(page, proof=swapped[1])).status_code == 403
    stranger = Browser(scene.http, scene.door.sign_in(scene.tenant_id, permissions=HELD))
    assert (await stranger.answer(page)).status_code == 403
    crossed = await scene.http.post(
        "/oauth2/authorize", data={}, headers=scene.browser.headers | {"Sec-Fetch-Site": "cross-site"}
    )
    assert crossed.status_code == 403


async def test_the_page_runs_no_script_and_cannot_be_framed(scene: Scene) -> None:
    client = await scene.another_client()
    page = await scene.browser.open(**asking(client, redirect_uri="com.example.app:/cb"))
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self' com.example.app:;" in policy
    assert "script-src" not in policy
    assert page.headers["X-Frame-Options"] == "DENY"
    assert page.headers["Cache-Control"] == "no-store"
    assert "<script" not in page.text


async def test_a_clients_name_cannot_write_into_the_page(scene: Scene) -> None:
    from app.platform.oauth.domain import NewClient
    from app.platform.oauth.service import create_client

    evil = NewClient("<b>x</b>", AuthMethod.NONE, (GrantType.CODE,), ("orders:read",), redirect_uris=(CALLBACK,))
    async with scene.database.tx(scene.tenant_id) as tx:
        client = await create_client(tx, evil)
    page = await scene.browser.open(**asking(client, scope="orders:read", state='"><b>'))
    assert page.status_code == 200
    assert "<b>" not in page.text


async def test_a_confidential_client_is_not_asked_about_twice_and_a_public_one_is(scene: Scene) -> None:
    public = await scene.another_client()
    for client, again in ((scene.client, 303), (public, 200)):
        await scene.tokens(client)
        assert (await scene.browser.open(**asking(client))).status_code == again
        assert (await scene.browser.open(**asking(client, prompt="consent"))).status_code == 200
        more = await scene.browser.open(**asking(client, scope="openid orders:read tenant:read"))
        assert more.status_code == 200, "more than was granted before"


async def test_nobody_grants_in_a_tenant_that_is_not_theirs(scene: Scene) -> None:
    stranger = await make_tenant(scene.database)
    visitor = Browser(scene.http, scene.door.sign_in(stranger.tenant_id, permissions=HELD))
    answer = await visitor.open(**asking(scene.client))
    assert query_of(answer.headers["Location"])["error"] == "access_denied"


# --- Requests that must not go through ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [
        {"redirect_uri": "https://evil.example/cb"},
        {"redirect_uri": CALLBACK + "/"},
        {"redirect_uri": CALLBACK + "?x=1"},
        {"redirect_uri": CALLBACK.upper()},
        {"redirect_uri": CALLBACK + '"'},
        {"redirect_uri": None},
        {"client_id": "oc_" + "0" * 20},
        {"client_id": "x'"},
        {"client_id": None},
        {"redirect_uri": "https://evil.example/cb", "response_type": "nonsense"},
        {"state": "a\r\nb"},
        {"state": "é"},
    ],
)
async def test_nothing_is_sent_to_an_address_that_is_not_registered(
    scene: Scene, params: dict[str, str | None]
) -> None:
    for browser in (scene.browser, Browser(scene.http)):
        answer = await browser.open(**asking(scene.client, **params))
        assert (answer.status_code, answer.headers.get("Location")) == (400, None), answer.text
        assert answer.headers["Content-Type"].startswith("text/html")


async def test_a_repeated_parameter_is_refused_without_a_redirect(scene: Scene) -> None:
    query = httpx.QueryParams({k: v for k, v in asking(scene.client).items() if v})
    for name in ("state", "redirect_uri", "client_id", "code_challenge"):
        answer = await scene.http.get(f"/oauth2/authorize?{query}&{name}=x", headers=scene.browser.headers)
        assert (answer.status_code, answer.headers.get("Location")) == (400, None)


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code id_token"}, "unsupported_response_type"),
        ({"response_type": 'x"\\'}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"response_mode": "form_post"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"scope": "members:read"}, "invalid_scope"),
        ({"scope": "orders:write"}, "invalid_scope"),
        ({"scope": 'a"\\'}, "invalid_scope"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"prompt": "create"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"max_age": "soon"}, "invalid_request"),
        ({"nonce": "n" * 600}, "invalid_request"),
        ({"request": "x.y.z"}, "request_not_supported"),
        ({"request_uri": "https://app.example/r"}, "request_uri_not_supported"),
        ({"prompt": "none"}, "consent_required"),
    ],
)
async def test_a_wrong_request_goes_back_with_an_error_and_its_state(
    scene: Scene, params: dict[str, str | None], error: str
) -> None:
    answer = await scene.browser.open(**asking(scene.client, **params))
    assert answer.status_code == 303, answer.text
    assert answer.headers["Location"].startswith(f"{CALLBACK}?")
    back = query_of(answer.headers["Location"])
    assert (back["error"], back["state"], back["iss"]) == (error, "st-1", ISSUER)
    assert "code" not in back


async def test_an_unknown_parameter_is_ignored_as_the_standard_says(scene: Scene) -> None:
    assert (await scene.browser.open(**asking(scene.client, ui_locales="hi", utm="x"))).status_code == 200


# --- Login ----------------------------------------------------------------------------------------------------------


async def test_whoever_is_not_signed_in_is_sent_there_and_back(scene: Scene) -> None:
    browser = Browser(scene.http)
    answer = await browser.open(**asking(scene.client, prompt="login", max_age="0"))
    assert answer.status_code == 303
    back = query_of(answer.headers["Location"])["next"]
    assert back.startswith("/oauth2/authorize?")
    assert "prompt" not in query_of(back)
    assert "max_age" not in query_of(back)
    browser.cookie = scene.browser.cookie
    page = await scene.http.get(back, headers=browser.headers)
    assert page.status_code == 200
    assert query_of((await browser.answer(page)).headers["Location"])["state"] == "st-1"
    silent = await Browser(scene.http).open(**asking(scene.client, prompt="none"))
    assert query_of(silent.headers["Location"])["error"] == "login_required"


@pytest.mark.parametrize("params", [{"prompt": "login"}, {"max_age": "60"}, {"prompt": "select_account"}])
async def test_a_login_that_is_too_old_is_repeated(scene: Scene, params: dict[str, str]) -> None:
    long_ago = datetime.now(UTC) - timedelta(minutes=5)
    scene.browser.cookie = scene.door.sign_in(scene.tenant_id, permissions=HELD, at=long_ago)
    answer = await scene.browser.open(**asking(scene.client, **params))
    assert answer.headers["Location"].startswith("/test-login?")
    recent = await scene.browser.open(**asking(scene.client, max_age="3600"))
    assert recent.status_code == 200


async def test_prompt_none_works_once_the_person_has_agreed(scene: Scene) -> None:
    await scene.tokens()
    silent = await scene.browser.open(**asking(scene.client, prompt="none"))
    assert "code" in query_of(silent.headers["Location"])
    stale = await scene.browser.open(**asking(scene.client, prompt="none", max_age="0"))
    assert query_of(stale.headers["Location"])["error"] == "login_required"


# --- Codes ----------------------------------------------------------------------------------------------------------


async def test_a_code_is_bound_to_client_verifier_address_and_time(scene: Scene) -> None:
    other = await scene.another_client(AuthMethod.BASIC)
    code = await scene.code()
    for client, change in (
        (other, {}),
        (scene.client, {"code_verifier": "w" * 43}),
        (scene.client, {"redirect_uri": "com.example.app:/cb"}),
        (scene.client, {"code": code + "x"}),
        (scene.client, {"code": ""}),
    ):
        answer = await redeem(scene.http, client, **({"code": code} | change))
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant"), change
    for verifier in ("", "short", "v" * 200, "v" * 42 + "!"):
        answer = await redeem(scene.http, scene.client, code, code_verifier=verifier)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request"), verifier
    assert (await redeem(scene.http, scene.client, code)).status_code == 200, "a wrong try burnt the code"
    late = await scene.code()
    async with scene.database.tx(scene.tenant_id) as tx:  # the application's role cannot, and need not, change this
        with pytest.raises(Exception, match="permission denied"):
            await tx.execute(text("update oauth_codes set expires_at = now()"))
    moved = datetime.now(UTC) + timedelta(seconds=61)
    form = f"grant_type=authorization_code&code={late}&redirect_uri={CALLBACK}&code_verifier={'v' * 43}"
    reply = await scene.app.state.oauth.server.token(
        form.encode(),
        {"content-type": "application/x-www-form-urlencoded", "authorization": basic(scene.client)["Authorization"]},
        now=moved,
    )
    assert (reply.status, reply.body["error"]) == (400, "invalid_grant")


async def test_a_code_that_comes_twice_ends_what_came_of_it(scene: Scene) -> None:
    code = await scene.code()
    got = (await redeem(scene.http, scene.client, code)).json()
    assert await scene.opens(got["access_token"]) == 200
    again = await redeem(scene.http, scene.client, code)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert await scene.opens(got["access_token"]) == 401
    assert (await refresh(scene.http, scene.client, got["refresh_token"])).status_code == 400
    assert await _reasons(scene) == ["code_replayed"]


async def test_of_eight_redemptions_one_succeeds(scene: Scene) -> None:
    code = await scene.code()
    answers = await asyncio.gather(*[redeem(scene.http, scene.client, code) for _ in range(8)])
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 7
    assert {answer.json()["error"] for answer in answers if answer.status_code == 400} == {"invalid_grant"}


async def _reasons(scene: Scene) -> list[str]:
    async with scene.database.tx(scene.tenant_id) as tx:
        found = await tx.execute(text("select revoked_reason from oauth_grants where revoked_at is not null"))
        return list(found.scalars())


# --- Refresh tokens -------------------------------------------------------------------------------------------------


async def test_a_refresh_token_is_replaced_and_its_answer_may_be_lost(scene: Scene) -> None:
    first = await scene.tokens()
    assert first["refresh_token"].startswith("ort_")
    second = (await refresh(scene.http, scene.client, first["refresh_token"])).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert second["scope"] == first["scope"]
    assert await scene.opens(second["access_token"]) == 200
    repeated = await refresh(scene.http, scene.client, first["refresh_token"])
    assert (repeated.status_code, repeated.json()["error"]) == (400, "invalid_grant")
    assert await _reasons(scene) == [], "a lost answer is no theft"
    assert (await refresh(scene.http, scene.client, second["refresh_token"])).status_code == 200


async def test_a_refresh_token_used_again_ends_its_whole_grant(scene: Scene) -> None:
    first = await scene.tokens()
    second = (await refresh(scene.http, scene.client, first["refresh_token"])).json()
    third = (await refresh(scene.http, scene.client, second["refresh_token"])).json()
    stolen = await refresh(scene.http, scene.client, first["refresh_token"])
    assert stolen.json()["error"] == "invalid_grant"
    assert await _reasons(scene) == ["refresh_token_reused"]
    assert (await refresh(scene.http, scene.client, third["refresh_token"])).json()["error"] == "invalid_grant"
    for got in (first, second, third):
        assert await scene.opens(got["access_token"]) == 401


async def test_a_refresh_token_used_again_after_the_grace_ends_its_grant(scene: Scene) -> None:
    first = await scene.tokens()
    await refresh(scene.http, scene.client, first["refresh_token"])
    await scene.age("oauth_refresh_tokens", "used_at", 11)
    assert (await refresh(scene.http, scene.client, first["refresh_token"])).status_code == 400
    assert await _reasons(scene) == ["refresh_token_reused"]


async def test_of_eight_refreshes_one_succeeds_and_the_grant_lives(scene: Scene) -> None:
    first = await scene.tokens()
    answers = await asyncio.gather(*[refresh(scene.http, scene.client, first["refresh_token"]) for _ in range(8)])
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 7
    kept = next(answer.json() for answer in answers if answer.status_code == 200)
    assert (await refresh(scene.http, scene.client, kept["refresh_token"])).status_code == 200


async def test_a_refresh_narrows_an_answer_and_never_widens_the_grant(scene: Scene) -> None:
    first = await scene.tokens(scope="openid orders:read tenant:read")
    narrow = (await refresh(scene.http, scene.client, first["refresh_token"], scope="tenant:read")).json()
    assert narrow["scope"] == "tenant:read"
    wide = await refresh(scene.http, scene.client, narrow["refresh_token"], scope="orders:write")
    assert wide.json()["error"] == "invalid_scope"
    whole = (await refresh(scene.http, scene.client, narrow["refresh_token"])).json()
    assert whole["scope"] == "openid orders:read tenant:read"


async def test_another_client_cannot_use_or_end_a_refresh_token(scene: Scene) -> None:
    other = await scene.another_client(AuthMethod.BASIC)
    got = await scene.tokens()
    assert (await refresh(scene.http, other, got["refresh_token"])).json()["error"] == "invalid_grant"
    ended = await scene.http.post("/oauth2/revoke", data={"token": got["refresh_token"]}, headers=basic(other))
    assert ended.json()["error"] == "invalid_grant"
    assert (await refresh(scene.http, scene.client, got["refresh_token"])).status_code == 200


async def test_ending_a_refresh_token_ends_its_grant(scene: Scene) -> None:
    got = await scene.tokens()
    asked = await scene.http.post(
        "/oauth2/introspect", data={"token": got["refresh_token"]}, headers=basic(scene.client)
    )
    assert (asked.json()["active"], asked.json()["scope"]) == (True, "openid orders:read")
    ended = await scene.http.post("/oauth2/revoke", data={"token": got["refresh_token"]}, headers=basic(scene.client))
    assert ended.status_code == 200
    assert await scene.opens(got["access_token"]) == 401
    assert (await refresh(scene.http, scene.client, got["refresh_token"])).status_code == 400
    asked = await scene.http.post(
        "/oauth2/introspect", data={"token": got["refresh_token"]}, headers=basic(scene.client)
    )
    assert asked.json() == {"active": False}


async def test_what_a_person_lost_is_lost_at_the_next_refresh(scene: Scene) -> None:
    got = await scene.tokens(scope="openid orders:read tenant:read")
    person = scene.door.people[scene.user_id]
    scene.door.people[scene.user_id] = type(person)(person.user_id, person.email, True, frozenset({"tenant:read"}))
    less = (await refresh(scene.http, scene.client, got["refresh_token"])).json()
    assert less["scope"] == "openid tenant:read"
    code = await scene.code()
    scene.door.members[scene.tenant_id].clear()
    gone = await refresh(scene.http, scene.client, less["refresh_token"])
    assert gone.json()["error"] == "invalid_grant"
    assert (await redeem(scene.http, scene.client, code)).json()["error"] == "invalid_grant"
    answer = await scene.http.get("/oauth2/userinfo", headers=bearer(less["access_token"]))
    assert answer.status_code == 401


async def test_a_person_or_session_can_be_ended_by_itself(scene: Scene) -> None:
    got = await scene.tokens()
    colleague = Browser(scene.http, scene.door.sign_in(scene.tenant_id, permissions=HELD))
    mine, scene.browser = scene.browser, colleague
    theirs = await scene.tokens()
    scene.browser = mine
    session = scene.door.sessions[mine.cookie or ""]
    for end in (
        lambda tx, now: end_session_tokens(tx, session.id, now=now),
        lambda tx, now: end_person_tokens(tx, session.user_id, now=now),
    ):
        async with scene.database.tx(scene.tenant_id) as tx:
            marks = await end(tx, datetime.now(UTC))
        await scene.app.state.oauth.revocations.publish(marks)
        assert await scene.opens(got["access_token"]) == 401
        assert (await refresh(scene.http, scene.client, got["refresh_token"])).status_code == 400
        assert await scene.opens(theirs["access_token"]) == 200
        got = await scene.tokens()
        assert await scene.opens(got["access_token"]) == 200


async def test_the_database_holds_no_code_and_no_token(scene: Scene) -> None:
    code = await scene.code()
    got = (await redeem(scene.http, scene.client, code)).json()
    async with scene.database.tx(scene.tenant_id) as tx:
        for table in ("oauth_codes", "oauth_refresh_tokens", "oauth_grants", "events"):
            rows = (await tx.execute(text(f"SELECT t::text FROM {table} t"))).scalars().all()
            assert rows
            for secret in (code, got["refresh_token"], got["access_token"]):
                assert not [row for row in rows if secret[4:] in row]


# --- OpenID Connect -------------------------------------------------------------------------------------------------


async def _id_claims(scene: Scene, token: str) -> dict[str, Any]:
    keys = KeySet.import_key_set((await scene.http.get("/.well-known/jwks.json")).json())
    found = jwt.decode(token, keys, algorithms=["RS256"])
    assert found.header["kid"].startswith("rs256-")
    return dict(found.claims)


async def test_an_id_token_names_person_client_nonce_and_login(scene: Scene) -> None:
    got = await scene.tokens(scope="openid email orders:read")
    claims = await _id_claims(scene, got["id_token"])
    session = scene.door.sessions[scene.browser.cookie or ""]
    assert (claims["iss"], claims["aud"], claims["nonce"]) == (ISSUER, [scene.client.row.client_id], "no-1")
    assert claims["auth_time"] == int(session.auth_time.timestamp())
    assert claims["amr"] == ["pwd", "otp"]
    assert (claims["email"], claims["email_verified"]) == (session.email, True)
    assert claims["exp"] - claims["iat"] == 300
    assert "at_hash" in claims
    for method in ("GET", "POST"):
        told = await scene.http.request(method, "/oauth2/userinfo", headers=bearer(got["access_token"]))
        assert told.json() == {"sub": claims["sub"], "email": session.email, "email_verified": True}
    assert (await scene.http.get("/v1/tenant", headers=bearer(got["id_token"]))).status_code == 401


async def test_without_openid_there_is_no_id_token_and_no_userinfo(scene: Scene) -> None:
    got = await scene.tokens(scope="orders:read", nonce=None)
    assert "id_token" not in got
    told = await scene.http.get("/oauth2/userinfo", headers=bearer(got["access_token"]))
    assert (told.status_code, told.json()["code"]) == (403, "insufficient_scope")
    assert (await scene.http.get("/oauth2/userinfo")).status_code == 401


async def test_without_a_nonce_or_the_scope_email_the_id_token_has_neither(scene: Scene) -> None:
    got = await scene.tokens(scope="openid", nonce=None)
    claims = await _id_claims(scene, got["id_token"])
    assert "nonce" not in claims
    assert "email" not in claims


async def test_a_public_client_gets_tokens_with_its_verifier_alone(scene: Scene) -> None:
    client = await scene.another_client()
    got = await scene.tokens(client)
    assert await scene.opens(got["access_token"]) == 200
    assert (await refresh(scene.http, client, got["refresh_token"])).status_code == 200


async def test_an_event_names_the_client_behind_a_persons_token(scene: Scene) -> None:
    got = await scene.tokens()
    principal = await scene.app.state.gateway.authenticator.authenticate(got["access_token"], now=datetime.now(UTC))
    session = scene.door.sessions[scene.browser.cookie or ""]
    assert (principal.tenant_id, principal.key_id) == (scene.tenant_id, scene.client.row.id)
    assert (principal.user_id, principal.session_id) == (session.user_id, session.id)
    assert principal.token_id
    assert principal.scopes == {"openid", "orders:read"}
    assert principal.revocation_known


async def test_no_log_line_carries_a_secret(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    code = await scene.code()
    got = (await redeem(scene.http, scene.client, code)).json()
    await redeem(scene.http, scene.client, code)
    await refresh(scene.http, scene.client, got["refresh_token"])
    await scene.http.post("/oauth2/token", data={"grant_type": "x", "client_secret": "hunter2"})
    written = capsys.readouterr()
    said = written.out + written.err
    assert said.count("oauth.refused") == 2, "one line for each refusal of the engine"
    for secret in (code, got["access_token"], got["refresh_token"], got["id_token"], scene.client.secret, "hunter2"):
        assert str(secret) not in said
