"""Access tokens: got by three kinds of credential, opened at the API, ended everywhere, refused in every bad form."""

import asyncio
import json
import time
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from joserfc import jws, jwt
from joserfc.jwk import ECKey, KeySet, RSAKey
from sqlalchemy import text

from app.infra.database import Database
from app.kernel.ids import encode_id
from app.kernel.orders import Mode
from app.platform.oauth.domain import AuthMethod
from app.platform.oauth.service import IssuedClient, revoke_client
from tests.factories.oauth import (
    ISSUER,
    assertion,
    assertion_form,
    basic,
    bearer,
    client_token,
    forge_hs256,
    make_client,
    new_key,
    public_set,
)
from tests.factories.tenants import make_tenant

pytestmark = pytest.mark.asyncio
FORM = {"grant_type": "client_credentials"}


async def _signer(app: FastAPI) -> Any:
    ring = await app.state.oauth.server.keys.ring(now=datetime.now(UTC))
    return ring.signer("ES256")


async def test_a_token_says_who_for_what_and_until_when(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    made = await make_client(database, tenant.tenant_id, mode=Mode.LIVE)
    answer = await client.post("/oauth2/token", data=FORM, headers=basic(made))
    body = answer.json()
    assert answer.status_code == 200
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 300)
    assert body["scope"] == "orders:read orders:write tenant:read"
    assert "refresh_token" not in body
    assert answer.headers["Cache-Control"] == "no-store"
    keys = KeySet.import_key_set((await client.get("/.well-known/jwks.json")).json())
    found = jwt.decode(body["access_token"], keys, algorithms=["ES256"])
    claims = found.claims
    assert found.header["typ"] == "at+jwt"
    assert found.header["kid"].startswith("es256-")
    assert (claims["iss"], claims["aud"], claims["mode"]) == (ISSUER, ISSUER, "live")
    assert claims["tid"] == encode_id("ten", tenant.tenant_id)
    assert claims["sub"] == claims["client_id"] == made.row.client_id
    assert claims["exp"] - claims["iat"] == 300


async def test_a_token_opens_what_its_scopes_say_and_no_more(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    made = await make_client(database, tenant.tenant_id)
    token = await client_token(client, made, scope="tenant:read")
    assert (await client.get("/v1/tenant", headers=bearer(token))).json()["id"] == encode_id("ten", tenant.tenant_id)
    refused = await client.get("/v1/orders", headers=bearer(token))
    assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope")


async def test_events_name_the_client_that_acted(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    scopes = ("oauth_clients:write", "oauth_clients:read")
    made = await make_client(database, tenant.tenant_id, scopes=scopes)
    token = await client_token(client, made)
    body = {"name": "x", "auth_method": "none", "grant_types": ["authorization_code"], "scopes": ["openid"]}
    body |= {"redirect_uris": ["https://app.example/cb"]}
    answer = await client.post("/v1/oauth_clients", json=body, headers=bearer(token))
    assert answer.status_code == 201, answer.text
    async with database.tx(tenant.tenant_id) as tx:
        found = await tx.execute(text("select actor_key_id from events where type = 'oauth_client.created'"))
        assert made.row.id in set(found.scalars())


async def test_a_client_may_post_its_secret_only_if_it_said_so(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    posting = await make_client(database, tenant.tenant_id, method=AuthMethod.POST)
    form = FORM | {"client_id": posting.row.client_id, "client_secret": posting.secret or ""}
    assert (await client.post("/oauth2/token", data=form)).status_code == 200
    assert (await client.post("/oauth2/token", data=FORM, headers=basic(posting))).status_code == 401
    header = await make_client(database, tenant.tenant_id)
    form = FORM | {"client_id": header.row.client_id, "client_secret": header.secret or ""}
    assert (await client.post("/oauth2/token", data=form)).status_code == 401
    assert (await client.post("/oauth2/token", data=form, headers=basic(header))).status_code == 401


async def test_wrong_secret_unknown_and_revoked_client_get_one_answer(
    client: httpx.AsyncClient, database: Database
) -> None:
    tenant = await make_tenant(database)
    made, revoked = [await make_client(database, tenant.tenant_id) for _ in range(2)]
    async with database.tx(tenant.tenant_id) as tx:
        await revoke_client(tx, revoked.row.id, now=datetime.now(UTC))
    unknown = "oc_" + "0" * 20
    headers = [basic(made, "cs_wrong"), basic(revoked)]
    answers = [await client.post("/oauth2/token", data=FORM, headers=one) for one in headers]
    answers.append(await client.post("/oauth2/token", data=FORM | {"client_id": unknown, "client_secret": "x"}))
    assert {(answer.status_code, answer.text) for answer in answers} == {(401, answers[0].text)}
    assert answers[0].json()["error"] == "invalid_client"
    assert "WWW-Authenticate" in answers[0].headers


# --- private_key_jwt ------------------------------------------------------------------------------------------------


async def _key_client(database: Database) -> tuple[IssuedClient, ECKey]:
    tenant, key = await make_tenant(database), new_key()
    jwks = public_set(key, new_key("k2"))
    return await make_client(database, tenant.tenant_id, method=AuthMethod.PRIVATE_KEY, jwks=jwks), key


@pytest.mark.parametrize("audience", [ISSUER, f"{ISSUER}/oauth2/token", [ISSUER, "https://other.example"]])
async def test_an_assertion_for_issuer_or_token_endpoint_is_taken(
    client: httpx.AsyncClient, database: Database, audience: str | list[str]
) -> None:
    made, key = await _key_client(database)
    sent = assertion(key, made.row.client_id, aud=audience)
    answer = await client.post("/oauth2/token", data=assertion_form(sent))
    assert answer.status_code == 200, answer.text


async def test_an_assertion_works_once(client: httpx.AsyncClient, database: Database) -> None:
    made, key = await _key_client(database)
    form = assertion_form(assertion(key, made.row.client_id))
    answers = await asyncio.gather(*[client.post("/oauth2/token", data=form) for _ in range(8)])
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 7
    assert (await client.post("/oauth2/token", data=form)).json()["error"] == "invalid_client"


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://other.example"},
        {"aud": None},
        {"exp": 1},
        {"exp": None},
        {"exp": int(time.time()) + 90_000},
        {"exp": "soon"},
        {"iss": "oc_" + "1" * 20},
        {"jti": None},
        {"jti": ["a"]},
        {"jti": ""},
        {"nbf": int(time.time()) + 3_600},
    ],
)
async def test_an_assertion_with_a_wrong_claim_is_refused(
    client: httpx.AsyncClient, database: Database, claims: dict[str, Any]
) -> None:
    made, key = await _key_client(database)
    answer = await client.post("/oauth2/token", data=assertion_form(assertion(key, made.row.client_id, **claims)))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_an_assertion_by_another_key_or_algorithm_is_refused(
    client: httpx.AsyncClient, database: Database
) -> None:
    made, key = await _key_client(database)
    name = made.row.client_id
    said = {"iss": name, "sub": name, "aud": ISSUER, "exp": int(time.time()) + 60, "jti": "j"}
    unsigned = jws.serialize_compact({"alg": "none"}, json.dumps({"iss": name, "sub": name}), None, algorithms=["none"])
    for sent in (
        assertion(new_key(), name),
        forge_hs256({"kid": "k1"}, said, key.as_pem(private=False)),
        forge_hs256({"kid": "k1"}, said, json.dumps(key.as_dict(private=False)).encode()),
        unsigned,
        "a.b.c",
        "....",
        "",
    ):
        answer = await client.post("/oauth2/token", data=assertion_form(sent))
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), sent


async def test_a_client_with_a_secret_cannot_bring_an_assertion(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    made = await make_client(database, tenant.tenant_id)
    answer = await client.post("/oauth2/token", data=assertion_form(assertion(new_key(), made.row.client_id)))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


# --- Bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, "unsupported_grant_type"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": 'x"\\'}, "unsupported_grant_type"),
        ({"grant_type": "authorization_code"}, "unauthorized_client"),  # it has client_credentials only
        ({"grant_type": "refresh_token"}, "unauthorized_client"),
        (FORM | {"scope": "orders:read members:read"}, "invalid_scope"),
        (FORM | {"scope": "openid"}, "invalid_scope"),
        (FORM | {"scope": "orders:read\x00"}, "invalid_request"),
        (FORM | {"scope": "ordérs"}, "invalid_request"),
    ],
)
async def test_a_wrong_request_says_what_is_wrong(
    client: httpx.AsyncClient, database: Database, form: dict[str, str], error: str
) -> None:
    tenant = await make_tenant(database)
    made = await make_client(database, tenant.tenant_id)
    answer = await client.post("/oauth2/token", data=form, headers=basic(made))
    if not form:
        answer = await client.post(
            "/oauth2/token", content="x=1", headers=basic(made) | {"Content-Type": "application/x-www-form-urlencoded"}
        )
    assert (answer.status_code, answer.json()["error"]) == (400, error)


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        ('{"grant_type": "client_credentials"}', "application/json", 400),
        ("grant_type=client_credentials&grant_type=password", "application/x-www-form-urlencoded", 400),
        ("&".join(f"a{n}=1" for n in range(50)), "application/x-www-form-urlencoded", 400),
        ("\xff\xfe", "application/x-www-form-urlencoded", 400),
        ("scope=" + "a" * 300_000, "application/x-www-form-urlencoded", 413),
        ("", "application/x-www-form-urlencoded", 401),
    ],
)
async def test_bodies_that_are_no_form_are_refused(
    client: httpx.AsyncClient, content: str, kind: str, status: int
) -> None:
    for path in ("/oauth2/token", "/oauth2/revoke", "/oauth2/introspect"):
        answer = await client.post(path, content=content.encode("latin-1"), headers={"Content-Type": kind})
        assert answer.status_code == status, f"{path}: {answer.text}"


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Basic /////w==", "Basic Og==", "Digest x", "Basic eDp5"])
async def test_headers_that_are_no_credential_are_refused(client: httpx.AsyncClient, header: str) -> None:
    answer = await client.post("/oauth2/token", data=FORM, headers={"Authorization": header})
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_a_token_that_is_not_ours_or_was_changed_is_refused(
    client: httpx.AsyncClient, gateway_app: FastAPI, database: Database
) -> None:
    tenant = await make_tenant(database)
    made = await make_client(database, tenant.tenant_id)
    token = await client_token(client, made)
    signer = await _signer(gateway_app)
    good = jws.extract_compact(token.encode())
    claims = json.loads(good.payload)
    header = good.headers()
    public = signer.key.as_pem(private=False)
    ring = await gateway_app.state.oauth.server.keys.ring(now=datetime.now(UTC))
    other = RSAKey.generate_key(2048)

    def signed(claims: dict[str, Any], header: dict[str, Any] = header, key: Any = signer.key) -> str:
        return jwt.encode(header, claims, key, algorithms=[header["alg"]], default_type=None)

    head, body, signature = token.split(".")
    bad = {
        "another signature": f"{head}.{body}.{signature[:-2]}AA",
        "no signature": f"{head}.{body}.",
        "alg none": jws.serialize_compact(header | {"alg": "none"}, json.dumps(claims), None, algorithms=["none"]),
        "our public key as a secret": forge_hs256(header, claims, public),
        "another key": signed(claims, key=ECKey.generate_key("P-256")),
        "an RSA key": signed(claims, header | {"alg": "RS256"}, other),
        "our id token key": signed(
            claims, header | {"alg": "RS256", "kid": ring.signer("RS256").kid}, ring.signer("RS256").key
        ),
        "an unknown kid": signed(claims, header | {"kid": "es256-unknown"}),
        "no kid": signed(claims, {"alg": "ES256", "typ": "at+jwt"}),
        "no typ": signed(claims, {"alg": "ES256", "kid": signer.kid}),
        "an id token's typ": signed(claims, header | {"typ": "JWT"}),
        "a longer signature": f"{head}.{body}.{signature}x",
        "another audience": signed(claims | {"aud": "https://other.example"}),
        "a list of audiences": signed(claims | {"aud": [ISSUER]}),
        "another issuer": signed(claims | {"iss": "https://other.example"}),
        "expired": signed(claims | {"exp": int(time.time()) - 1}),
        "a huge expiry": signed(claims | {"exp": 10**30}),
        "text for a time": signed(claims | {"exp": "soon"}),
        "no tenant": signed({name: value for name, value in claims.items() if name != "tid"}),
        "a broken tenant": signed(claims | {"tid": ["x"]}),
        "another mode": signed(claims | {"mode": "production"}),
        "not base64": "ey!.ey!.ey!",
        "three dots": "a.b.c.d",
        "too long": f"{head}.{'A' * 5000}.{signature}",
        "empty parts": "..",
        "not JSON": "YQ.YQ.YQ",
        "a list": jws.serialize_compact(header, "[1]", signer.key, algorithms=["ES256"]),
    }
    assert (await client.get("/v1/tenant", headers=bearer(signed(claims)))).status_code == 200
    for what, sent in bad.items():
        answer = await client.get("/v1/tenant", headers=bearer(sent))
        assert answer.status_code == 401, f"{what}: {answer.status_code} {answer.text}"
        wanted = {"token_expired"} if what == "expired" else {"invalid_token", "malformed_api_key"}
        assert answer.json()["code"] in wanted, what
        assert sent[-20:] not in answer.text or len(sent) < 20, what
