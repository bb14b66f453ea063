"""The pages, as a browser without scripts uses them: every flow, forged forms, cookies, where a login may lead."""

import io
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path

import pyotp
import pytest
from fastapi import FastAPI, Response

from app.adapters.mailbox.mailer import captured
from app.infra.settings import Settings
from app.platform.people.service import People
from app.web.openapi import routes_of
from app.web.pages import Pages
from tests.factories.people import Browser, Somebody, fresh_email, fresh_password, make_person

pytestmark = pytest.mark.asyncio
_LINK = re.compile(r"http://localhost:8000(/(?:verify|reset)\?token=[\w-]+)")
_SECRET = re.compile(r"<code>([A-Z2-7]{32})</code>")
PUBLIC_PAGES = ("/login", "/signup", "/verify", "/forgot", "/reset", "/logout")


def somewhere() -> str:
    return f"2001:db8:{secrets.token_hex(2)}:{secrets.token_hex(2)}::1"


@pytest.fixture
def browser(gateway_app: FastAPI) -> Browser:
    return Browser(gateway_app, ip=somewhere())


async def somebody(app: FastAPI) -> Somebody:
    people: People = app.state.people
    return await make_person(people)


async def link_for(app: FastAPI, settings: Settings, email: str) -> str:
    """The path of the last link that was mailed, waiting for the gateway's own sender."""
    import asyncio

    for _ in range(600):
        mails = [one.mail for one in captured(settings.data_dir) if one.mail.to == email]
        found = _LINK.search(mails[-1].text) if mails else None
        if found is not None:
            return found[1]
        await asyncio.sleep(0.05)
    raise AssertionError("no mail came")


async def test_somebody_signs_up_confirms_and_is_in(
    browser: Browser, gateway_app: FastAPI, app_settings: Settings
) -> None:
    email, password = fresh_email(), fresh_password()
    sent = await browser.send("/signup", email=email, password=password)
    assert sent.status_code == 200 and email in sent.text
    link = await link_for(gateway_app, app_settings, email)
    done = await browser.http.post(
        "/verify",
        data={"form_token": await browser.token(link), "token": link.partition("token=")[2], "password": password},
    )
    home = await browser.follow(done)
    assert home.status_code == 200 and email in home.text and "This one" in home.text


async def test_known_and_unknown_addresses_get_the_same_pages(gateway_app: FastAPI) -> None:
    known, unknown = await somebody(gateway_app), fresh_email()
    for path, fields in (
        ("/signup", {"password": fresh_password()}),
        ("/forgot", {}),
        ("/login", {"password": "x" * 12}),
    ):
        answers = []
        for email in (known.email, unknown):
            browser = Browser(gateway_app, ip=somewhere())
            answer = await browser.send(path, email=email, **fields)
            text = re.sub(r'value="[0-9a-f]{64}"', "", answer.text.replace(email, "EMAIL"))
            names = sorted(name for name in answer.headers if name not in ("request-id", "content-length"))
            answers.append((answer.status_code, text, names))
        assert answers[0] == answers[1], path


async def test_a_forgotten_password_is_set_by_mail(
    browser: Browser, gateway_app: FastAPI, app_settings: Settings
) -> None:
    who, password = await somebody(gateway_app), fresh_password()
    elsewhere = Browser(gateway_app, ip=somewhere())
    await elsewhere.log_in(who)
    await browser.send("/forgot", email=who.email)
    link = await link_for(gateway_app, app_settings, who.email)
    fields = {"token": link.partition("token=")[2], "password": password}
    done = await browser.send("/reset", **fields)
    assert done.headers["location"] == "/login?done=reset"
    assert "The password is set" in (await browser.follow(done)).text
    again = await browser.send("/reset", **fields)
    assert again.status_code == 422 and "This link was used" in again.text
    assert (await elsewhere.get("/account/security")).headers["location"] == "/login"
    answer = await browser.log_in(Somebody(who.person, who.email, password))
    assert (await browser.follow(answer)).status_code == 200


async def test_the_second_factor_from_setting_up_to_turning_off(browser: Browser, gateway_app: FastAPI) -> None:
    who = await somebody(gateway_app)
    await browser.log_in(who)
    begun = await browser.send("/account/security/totp", page="/account/security")
    found = _SECRET.search(begun.text)
    assert found is not None and "<svg" in begun.text
    otp = pyotp.TOTP(found[1])
    wrong = await browser.send("/account/security/totp/confirm", page="/account/security", code="00000x")
    assert wrong.status_code == 401 and found[1] not in wrong.text
    shown = await browser.send(
        "/account/security/totp/confirm", page="/account/security", code=otp.at(datetime.now(UTC))
    )
    codes = re.findall(r"<code>([0-9a-z-]{19})</code>", shown.text)
    assert len(codes) == 10
    assert codes[0] not in (await browser.get("/account/security")).text
    other = Browser(gateway_app, ip=somewhere())
    asked = await other.log_in(who, next="/account/sessions")
    assert asked.headers["location"] == "/login/code?next=%2Faccount%2Fsessions"
    assert (await other.get("/account/security")).headers["location"].startswith("/login")
    done = await other.send("/login/code", code=codes[0], next="/account/sessions")
    assert done.headers["location"] == "/account/sessions"
    assert (await other.follow(done)).json()["data"][0]["amr"] == ["pwd", "recovery", "mfa"]
    assert "9 of 10 recovery codes" in (await other.get("/account/security")).text
    off = await other.send("/account/security/totp/remove", page="/account/security")
    assert "The authenticator is off" in (await other.follow(off)).text


async def test_the_password_is_changed_on_the_security_page(browser: Browser, gateway_app: FastAPI) -> None:
    who, password = await somebody(gateway_app), fresh_password()
    await browser.log_in(who)
    path, page = "/account/security/password", "/account/security"
    for current, new, status, said in (
        ("wrong", password, 401, "not the password"),
        (who.password, "short", 422, "at least 12"),
        (who.password, "Password1234!", 422, "anybody tries"),
    ):
        answer = await browser.send(path, page=page, current=current, password=new)
        assert answer.status_code == status and said in answer.text
    done = await browser.send(path, page=page, current=who.password, password=password)
    assert "The password is changed" in (await browser.follow(done)).text


async def test_sessions_are_listed_and_ended_as_json_and_by_form(browser: Browser, gateway_app: FastAPI) -> None:
    who = await somebody(gateway_app)
    others = [Browser(gateway_app, ip=somewhere()) for _ in range(2)]
    for one in (*others, browser):
        await one.log_in(who)
    await browser.get("/account/security")
    listed = (await browser.get("/account/sessions")).json()
    assert [one["current"] for one in listed["data"]].count(True) == 1 and len(listed["data"]) == 3
    first, second = [one["id"] for one in listed["data"] if not one["current"]]
    forged = await browser.http.delete(f"/account/sessions/{first}")
    assert (forged.status_code, forged.json()["code"]) == (403, "form_expired")
    token = {"X-Form-Token": listed["form_token"]}
    assert (await browser.http.delete(f"/account/sessions/{first}", headers=token)).status_code == 204
    ended = await browser.send(f"/account/sessions/{second}/end", page="/account/security")
    assert ended.status_code == 303
    assert len((await browser.get("/account/sessions")).json()["data"]) == 1
    for one in others:
        assert (await one.get("/account/sessions")).json()["code"] == "not_logged_in"


async def test_another_persons_session_id_is_a_404(browser: Browser, gateway_app: FastAPI) -> None:
    other = Browser(gateway_app, ip=somewhere())
    await other.log_in(await somebody(gateway_app))
    theirs = (await other.get("/account/sessions")).json()["data"][0]["id"]
    await browser.log_in(await somebody(gateway_app))
    await browser.get("/account/security")
    token = (await browser.get("/account/sessions")).json()["form_token"]
    answer = await browser.http.delete(f"/account/sessions/{theirs}", headers={"X-Form-Token": token})
    assert answer.status_code == 404
    page = await browser.send(f"/account/sessions/{theirs}/end", page="/account/security")
    assert page.status_code == 404 and page.headers["content-type"].startswith("text/html")
    assert (await other.get("/account/sessions")).status_code == 200


async def test_logging_out_ends_the_session_and_the_cookie(browser: Browser, gateway_app: FastAPI) -> None:
    await browser.log_in(await somebody(gateway_app))
    token = browser.cookie("mandi_session")
    done = await browser.send("/logout")
    assert browser.cookie("mandi_session") is None
    assert "You are logged out" in (await browser.follow(done)).text
    browser.http.cookies.set("mandi_session", token or "")
    assert (await browser.get("/account/security")).status_code == 303


@pytest.mark.parametrize(
    "evil",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "http:evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        " //evil.example",
        "evil.example",
        "/%0d%0aSet-Cookie:x=y\r\nX: y",
        "/a\\..\\evil",
        "/é",
        "/" + "a" * 3000,
    ],
)
async def test_a_login_leads_nowhere_else(browser: Browser, gateway_app: FastAPI, evil: str) -> None:
    who = await somebody(gateway_app)
    page = await browser.http.get("/login", params={"next": evil})
    assert 'name="next" value="/account/security"' in page.text
    answer = await browser.log_in(who, next=evil)
    assert answer.headers["location"] == "/account/security"


async def test_a_login_leads_on_to_a_path_of_ours_with_its_query(browser: Browser, gateway_app: FastAPI) -> None:
    path = "/oauth/authorize?client_id=x&redirect_uri=https%3A%2F%2Fclient.example%2Fback&state=a/b"
    page = await browser.http.get("/login", params={"next": path})
    assert "form-action" not in page.headers["Content-Security-Policy"], "browsers hold it against the way back"
    answer = await browser.log_in(await somebody(gateway_app), next=path)
    assert answer.headers["location"] == path


async def test_no_form_is_taken_that_we_did_not_show(browser: Browser, gateway_app: FastAPI) -> None:
    who = await somebody(gateway_app)
    stranger = Browser(gateway_app, ip=somewhere())
    foreign = await stranger.token("/login")
    await browser.log_in(who)
    posts = [
        str(route.path_format).replace("{id}", "ses_01kpx4t8yhe6rb2y6x3v1m9d0c")
        for route in routes_of(gateway_app)
        if "POST" in (route.methods or ()) and not str(route.path_format).startswith(("/v1", "/oauth2"))
    ]
    assert len(posts) >= 13
    for path in posts:
        for token in ({}, {"form_token": ""}, {"form_token": foreign}, {"form_token": "é"}):
            answer = await browser.http.post(path, data={"email": who.email, "password": who.password, **token})
            assert answer.status_code == 403, f"{path} {token}"
            assert "out of date" in answer.text
    assert (await browser.get("/account/security")).status_code == 200


async def test_a_form_sent_from_another_site_is_refused_even_with_its_token(
    browser: Browser, gateway_app: FastAPI
) -> None:
    who = await somebody(gateway_app)
    data = {"form_token": await browser.token("/login"), "email": who.email, "password": who.password}
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 303)):
        answer = await browser.http.post("/login", data=data, headers={"Sec-Fetch-Site": site})
        assert answer.status_code == status


async def test_a_form_of_before_the_login_counts_no_more(browser: Browser, gateway_app: FastAPI) -> None:
    before = await browser.token("/login")
    await browser.log_in(await somebody(gateway_app))
    assert (await browser.http.post("/logout", data={"form_token": before})).status_code == 403


async def test_cookies_are_out_of_reach_and_bound_to_this_host(browser: Browser, gateway_app: FastAPI) -> None:
    answer = await browser.log_in(await somebody(gateway_app))
    set_cookies = answer.headers.get_list("set-cookie")
    assert {one.partition("=")[0] for one in set_cookies} == {"mandi_session", "mandi_device", "mandi_form"}
    for one in set_cookies:
        assert "HttpOnly" in one and "SameSite=lax" in one and "Path=/" in one and "Domain" not in one, one


async def test_over_https_cookies_are_secure_and_have_the_host_prefix(tmp_path: Path) -> None:
    (tmp_path / "style.css.j2").write_text("body {}")
    pages = Pages(tmp_path, key=bytes(32), secure=True)
    for name in ("mandi_session", "mandi_device"):
        response = Response()
        pages.set_cookie(response, name, "x")
        sent = response.headers["set-cookie"]
        assert sent.startswith(f"__Host-{name}=x;") and "Secure" in sent and "Path=/" in sent and "Domain" not in sent
        dropped = Response()
        pages.drop_cookie(dropped, name)
        assert dropped.headers["set-cookie"].startswith(f"__Host-{name}=") and "Secure" in dropped.headers["set-cookie"]


async def test_every_page_is_self_contained_and_kept_by_no_cache(browser: Browser) -> None:
    for path in PUBLIC_PAGES:
        page = await browser.get(path)
        assert page.status_code == 200
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "script-src" not in policy
        assert "frame-ancestors 'none'" in policy and "form-action 'self'" in policy
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert "<script" not in page.text and "style=" not in page.text
        assert not re.search(r'(?:src|href|action)="(?!/)', page.text)


async def test_what_is_typed_is_shown_as_text(browser: Browser) -> None:
    evil = '"><script>alert(1)</script>'
    for path, fields in (
        ("/login", {"password": "x"}),
        ("/signup", {"password": "x"}),
        ("/forgot", {}),
    ):
        answer = await browser.send(path, email=evil, **fields)
        assert "<script>" not in answer.text, path
    page = await browser.http.get("/verify", params={"token": evil})
    assert "<script>" not in page.text


async def test_an_old_login_confirms_before_what_is_dangerous(browser: Browser, gateway_app: FastAPI) -> None:
    from sqlalchemy import text

    who = await somebody(gateway_app)
    await browser.log_in(who)
    people: People = gateway_app.state.people
    async with people.database.person(who.person.id) as tx:
        await tx.execute(text("update login_sessions set auth_time = auth_time - interval '1 hour'"))
    sent_away = await browser.send("/account/security/totp", page="/account/security")
    assert sent_away.headers["location"] == "/account/confirm"
    wrong = await browser.send("/account/confirm", password="wrong")
    assert wrong.status_code == 401
    old = browser.cookie("mandi_session")
    done = await browser.send("/account/confirm", password=who.password, next="/account/security")
    assert done.headers["location"] == "/account/security"
    assert browser.cookie("mandi_session") not in (None, old)
    begun = await browser.send("/account/security/totp", page="/account/security")
    assert "<svg" in begun.text


async def test_no_secret_is_logged(
    browser: Browser,
    gateway_app: FastAPI,
    app_settings: Settings,
    logged: io.StringIO,
    capsys: pytest.CaptureFixture[str],
) -> None:
    email, password, wrong = fresh_email(), fresh_password(), fresh_password()
    await browser.send("/signup", email=email, password=password)
    link = await link_for(gateway_app, app_settings, email)
    token = link.partition("token=")[2]
    await browser.get(link)
    await browser.send("/verify", token=token, password=password)
    session, device = browser.cookie("mandi_session"), browser.cookie("mandi_device")
    await browser.send("/login", email=email, password=wrong)
    begun = await browser.send("/account/security/totp", page="/account/security")
    secret = _SECRET.search(begun.text)
    await browser.send("/forgot", email=email)
    said = logged.getvalue() + capsys.readouterr().err
    assert '"route": "/login"' in said and "login.refused" in said
    assert session and device and secret
    for one in (password, wrong, token, session, device, secret[1], email):
        assert one not in said
