"""Signing keys: made once, published before they sign and after, encrypted at rest, and gone when they should be."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from joserfc.jwk import KeySet
from typer.testing import CliRunner

from app.bootstrap import App
from app.infra.crypto.envelope import UnsealError
from app.infra.crypto.sealer import PlatformSealer
from app.infra.database import Database
from app.infra.settings import Settings
from app.kernel.errors import DomainError
from app.platform.oauth.domain import ALGORITHMS, PUBLISHED_AHEAD, RETIRING
from app.platform.oauth.service import Keys, ensure_keys, rotate_keys
from app.platform.oauth.service.signing import RING_SECONDS

pytestmark = pytest.mark.asyncio
NOW = datetime(2026, 1, 5, tzinfo=UTC)
LATER = NOW + PUBLISHED_AHEAD


class Clock:
    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest_asyncio.fixture
async def empty(database_urls: dict[str, str]) -> AsyncIterator[asyncpg.Pool]:
    """The worker's database, keys hidden: its own table in a schema that comes first on the path."""
    name = f"keys_{secrets.token_hex(4)}"
    root = await asyncpg.connect(database_urls["admin"].rpartition("/")[0] + "/mandi")
    await root.execute(
        f"create schema {name}; create table {name}.oauth_signing_keys (like public.oauth_signing_keys including all);"
        f"grant usage on schema {name} to mandi_reference;"
        f"grant select, insert, update on {name}.oauth_signing_keys to mandi_reference"
    )
    await root.close()
    pool = await asyncpg.create_pool(
        database_urls["mandi_reference"], min_size=1, max_size=8, server_settings={"search_path": f"{name}, public"}
    )
    yield pool
    await pool.close()


@pytest.fixture
def sealer(app: App) -> PlatformSealer:
    return app.sealer.platform


async def _states(pool: asyncpg.Pool) -> dict[str, list[str]]:
    rows = await pool.fetch("select algorithm, state from oauth_signing_keys order by created_at, id")
    return {one: [row["state"] for row in rows if row["algorithm"] == one] for one in ALGORITHMS}


async def test_eight_gateways_make_one_set_of_first_keys(empty: asyncpg.Pool, sealer: PlatformSealer) -> None:
    await asyncio.gather(*[ensure_keys(empty, sealer, now=NOW) for _ in range(8)])
    assert await _states(empty) == {"ES256": ["active", "next"], "RS256": ["active", "next"]}


async def test_a_key_is_published_before_it_signs_and_after(empty: asyncpg.Pool, sealer: PlatformSealer) -> None:
    clock = Clock()
    await ensure_keys(empty, sealer, now=NOW)
    keys = Keys(empty, sealer, monotonic=clock)
    first = await keys.ring(now=NOW)
    with pytest.raises(DomainError, match="must be published until"):
        await rotate_keys(empty, sealer, now=LATER - timedelta(seconds=1))
    await rotate_keys(empty, sealer, now=LATER)
    assert (await keys.ring(now=LATER)) is first  # as of ten seconds ago
    clock.seconds += RING_SECONDS
    second = await keys.ring(now=LATER)
    assert await _states(empty) == {one: ["retiring", "active", "next"] for one in ALGORITHMS}
    for algorithm in ALGORITHMS:
        old, new = first.signer(algorithm), second.signer(algorithm)
        assert old.kid != new.kid
        assert first.verifier(new.kid, algorithm) is not None, "the next key was not published ahead"
        assert second.verifier(old.kid, algorithm) is not None, "tokens of the old key no longer verify"
    clock.seconds += RING_SECONDS
    end = LATER + RETIRING
    third = await keys.ring(now=end)
    assert third.verifier(first.signer("ES256").kid, "ES256") is None
    assert len(third.published) == 4
    await rotate_keys(empty, sealer, now=end)
    assert await _states(empty) == {one: ["gone", "retiring", "active", "next"] for one in ALGORITHMS}


async def test_a_compromised_key_is_gone_at_once(empty: asyncpg.Pool, sealer: PlatformSealer) -> None:
    clock = Clock()
    await ensure_keys(empty, sealer, now=NOW)
    keys = Keys(empty, sealer, monotonic=clock)
    old = (await keys.ring(now=NOW)).signer("ES256")
    await rotate_keys(empty, sealer, now=NOW, compromised=True)
    clock.seconds += RING_SECONDS
    assert (await keys.ring(now=NOW)).verifier(old.kid, "ES256") is None
    assert await _states(empty) == {one: ["gone", "active", "next"] for one in ALGORITHMS}


async def test_only_the_active_key_signs_and_every_token_names_it(empty: asyncpg.Pool, sealer: PlatformSealer) -> None:
    await ensure_keys(empty, sealer, now=NOW)
    ring = await Keys(empty, sealer).ring(now=NOW)
    published = KeySet.import_key_set({"keys": [dict(one) for one in ring.published]})
    active = {row["kid"] for row in await empty.fetch("select kid from oauth_signing_keys where state = 'active'")}
    from joserfc import jwt

    for algorithm in ALGORITHMS:
        for _ in range(8):
            token = ring.signer(algorithm).sign({"sub": "x"}, typ="JWT")
            assert jwt.decode(token, published, algorithms=[algorithm]).header["kid"] in active


async def test_private_keys_rest_sealed_and_bound_to_their_row(empty: asyncpg.Pool, sealer: PlatformSealer) -> None:
    await ensure_keys(empty, sealer, now=NOW)
    await rotate_keys(empty, sealer, now=LATER)
    rows = await empty.fetch("select kid, state, private_sealed, public_jwk::text as jwk from oauth_signing_keys")
    for row in rows:
        assert '"d"' not in row["jwk"]
        assert (row["private_sealed"] is None) == (row["state"] == "retiring")
        assert b"PRIVATE KEY" not in (row["private_sealed"] or b"")
    one, other = [row for row in rows if row["state"] == "active"]
    with pytest.raises(UnsealError):
        await sealer.unseal(one["private_sealed"], context=f"oauth_signing_keys:{other['kid']}".encode())
    assert "PRIVATE" not in repr(await Keys(empty, sealer).ring(now=LATER))


async def test_the_key_set_shows_public_parts_only(client: httpx.AsyncClient) -> None:
    answer = await client.get("/.well-known/jwks.json")
    keys = answer.json()["keys"]
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    assert sorted((key["alg"], key["use"]) for key in keys) == [("ES256", "sig")] * 2 + [("RS256", "sig")] * 2
    private = {"d", "p", "q", "dp", "dq", "qi", "k"}
    assert not [key for key in keys if private & key.keys()]


async def test_discovery_promises_what_is_there(client: httpx.AsyncClient) -> None:
    found = [
        (await client.get(f"/.well-known/{name}")).json()
        for name in ("openid-configuration", "oauth-authorization-server")
    ]
    assert found[0] == found[1]
    document: dict[str, Any] = found[0]
    assert document["issuer"] == "https://issuer.example"
    assert document["grant_types_supported"] == ["authorization_code", "refresh_token", "client_credentials"]
    AuthorizationServerMetadata(document).validate()
    for name, value in document.items():
        if name.endswith(("_endpoint", "jwks_uri")):
            path = value.removeprefix(document["issuer"])
            answer = await client.request("GET" if name == "jwks_uri" else "POST", path)
            assert answer.status_code not in (404, 405), name


async def test_without_issuer_there_is_no_authorization_server(app_settings: Settings, database: Database) -> None:
    from asgi_lifespan import LifespanManager

    from app.main import create_app
    from tests.factories.tenants import make_tenant

    app = create_app(app_settings.model_copy(update={"issuer": None}))
    tenant = await make_tenant(database)
    async with (
        LifespanManager(app, startup_timeout=30, shutdown_timeout=30),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gateway") as http,
    ):
        for path in ("/.well-known/openid-configuration", "/.well-known/jwks.json"):
            answer = await http.get(path)
            assert (answer.status_code, answer.json()["code"]) == (503, "oauth_not_configured")
        assert (await http.get("/v1/tenant", headers=tenant.headers)).status_code == 200


def _set_environment(monkeypatch: pytest.MonkeyPatch, app_settings: Settings) -> None:
    for field, info in Settings.model_fields.items():
        given = getattr(app_settings, field)
        if given is not None:
            text = given.get_secret_value() if hasattr(given, "get_secret_value") else str(given)
            monkeypatch.setenv(str(info.alias), text)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MANDI_ISSUER", "http://api.example.com"),
        ("MANDI_ISSUER", "https://api.example.com/"),
        ("MANDI_ISSUER", "https://api.example.com/path"),
    ],
)
async def test_a_wrong_setting_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, app_settings: Settings, name: str, value: str
) -> None:
    from app.infra.settings import SettingsError, load_settings

    _set_environment(monkeypatch, app_settings)
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name) as error:
        load_settings()
    assert value not in str(error.value)


async def test_the_command_rotates_and_says_when_it_is_too_early(
    monkeypatch: pytest.MonkeyPatch, app_settings: Settings, empty: asyncpg.Pool, database_urls: dict[str, str]
) -> None:
    from app.cli import app

    path = await empty.fetchval("show search_path")
    schema = path.partition(",")[0].strip()
    _set_environment(monkeypatch, app_settings)
    monkeypatch.setenv("REFERENCE_DATABASE_URL", database_urls["mandi_reference"] + f"?search_path={schema}%2Cpublic")
    run = CliRunner()
    first = await asyncio.to_thread(run.invoke, app, ["keys", "rotate"])
    assert first.exit_code == 0, first.output
    assert await _states(empty) == {"ES256": ["active", "next"], "RS256": ["active", "next"]}
    again = await asyncio.to_thread(run.invoke, app, ["keys", "rotate"])
    assert again.exit_code == 1
    assert "must be published until" in again.output
    forced = await asyncio.to_thread(run.invoke, app, ["keys", "rotate", "--compromised"])
    assert forced.exit_code == 0
    assert await _states(empty) == {one: ["gone", "active", "next"] for one in ALGORITHMS}


async def test_production_without_a_key_service_offers_no_tokens(app_settings: Settings) -> None:
    from pydantic import SecretStr

    from app.infra.settings import SettingsError
    from app.main import create_app

    bare = app_settings.model_copy(
        update={
            "environment": "production",
            "public_url": "https://mandi.example",
            "secret_key": SecretStr("k" * 32),
            "smtp_url": SecretStr("smtps://mail.example"),
        }
    )
    app = create_app(bare)
    with pytest.raises(SettingsError, match="MANDI_KMS_KEY_ARN"):
        async with app.router.lifespan_context(app):
            pass
