"""The authorization endpoint: login, consent, and requests that must not go through."""

import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import text

from app.platform.oauth.domain import AuthMethod, GrantType
from tests.factories.oauth import CALLBACK, ISSUER, Browser, asking, basic, bearer, query_of, redeem, refresh
from tests.factories.oauth_scene import HELD, Scene
from tests.factories.tenants import make_tenant

pytestmark = pytest.mark.asyncio


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
    stranger = Browser(scene.http, await scene.door.sign_in(scene.database, scene.tenant_id, permissions=HELD))
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
    style = re.search(r"<style>(.*?)</style>", page.text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy, "else the browser shows the page without its style"
    refusal = await scene.browser.open(**asking(client, client_id="oc_unknown"))
    assert refusal.status_code == 400
    assert "form-action 'none';" in refusal.headers["Content-Security-Policy"]
    assert f"style-src 'sha256-{digest}'" in refusal.headers["Content-Security-Policy"]
    assert page.headers["X-Frame-Options"] == "DENY"
    assert page.headers["Cache-Control"] == "no-store"
    assert "<script" not in page.text


async def test_a_clients_name_cannot_write_into_the_page(scene: Scene) -> None:
    from app.platform.oauth.domain import NewClient
    from app.platform.oauth.service import create_client

    evil = NewClient("<b>x</b>", AuthMethod.NONE, (GrantType.CODE,), ("orders:read",), redirect_uris=(CALLBACK,))
    async with scene.database.tx(scene.tenant_id) as tx:
        client = await create_client(tx, evil, now=datetime.now(UTC))
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
    visitor = Browser(scene.http, await scene.door.sign_in(scene.database, stranger.tenant_id, permissions=HELD))
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
    scene.browser.cookie = await scene.door.sign_in(scene.database, scene.tenant_id, permissions=HELD, at=long_ago)
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


async def test_what_is_refused_leaves_no_row(scene: Scene) -> None:
    before = await _rows(scene)
    for params in ({"redirect_uri": "https://evil.example/cb"}, {"code_challenge": None}, {"scope": "members:read"}):
        await scene.browser.open(**asking(scene.client, **params))
    page = await scene.browser.open(**asking(scene.client))
    await scene.browser.answer(page, "deny")
    await scene.browser.answer(page, proof="0" * 64)
    for code in ("oac_nonsense", "", "x" * 4000):
        assert (await redeem(scene.http, scene.client, code)).status_code == 400
    for token in ("ort_nonsense", ""):
        assert (await refresh(scene.http, scene.client, token)).status_code == 400
    for path in ("/oauth2/token", "/oauth2/revoke", "/oauth2/introspect"):
        form = {"grant_type": "client_credentials", "token": "x"}
        assert (await scene.http.post(path, data=form, headers=basic(scene.client, "wrong"))).status_code == 401
    assert await _rows(scene) == before


async def _rows(scene: Scene) -> list[int]:
    tables = ("oauth_codes", "oauth_grants", "oauth_refresh_tokens", "oauth_used_assertions", "oauth_clients", "events")
    async with scene.database.tx(scene.tenant_id) as tx:
        return [(await tx.execute(text(f"select count(*) from {table}"))).scalar_one() for table in tables]
