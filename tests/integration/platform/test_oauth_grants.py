"""What people granted: codes and refresh tokens that work once, id tokens, and how all of it ends."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from sqlalchemy import text

from app.platform.oauth.domain import AuthMethod, session_mark
from app.platform.oauth.service import end_person_tokens
from tests.factories.oauth import CALLBACK, ISSUER, Browser, basic, bearer, redeem, refresh
from tests.factories.oauth_scene import HELD, Scene

pytestmark = pytest.mark.asyncio


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
    colleague = Browser(scene.http, await scene.door.sign_in(scene.database, scene.tenant_id, permissions=HELD))
    mine, scene.browser = scene.browser, colleague
    theirs = await scene.tokens()
    scene.browser = mine
    session = scene.door.sessions[mine.cookie or ""]
    for what in ("session", "person"):
        now = datetime.now(UTC)
        async with scene.database.tx(scene.tenant_id) as tx:
            if what == "session":
                marks = [session_mark(session.id)]
                session = scene.door.sessions[mine.cookie or ""] = replace(session, id="another")
            else:
                marks = await end_person_tokens(tx, session.user_id, now=now)
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
