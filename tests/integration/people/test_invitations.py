"""Invitations, from the request that makes one to the membership: mailed, opened in a browser, accepted."""

import asyncio
import html
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from sqlalchemy import text

from app.bootstrap import App
from app.infra.crypto.envelope import UnsealError
from app.infra.database import Database
from app.infra.settings import Settings
from app.kernel.ids import encode_id, uuid7
from app.platform.people import service
from app.platform.people.domain import hash_token
from app.platform.people.repository import find_by_mail_token
from app.platform.people.service import InvitationMail, MailSender, People, Visitor
from app.platform.people.service.invitations import read_letter, unseal_token
from app.platform.people.tables import SignUp
from app.platform.tenancy.service import create_invitation, list_members
from app.web.cursors import Cursor
from tests.factories.people import Browser, Mailbox, Somebody, fresh_email, fresh_password, make_person
from tests.factories.tenants import TenantWithKey, make_tenant
from tests.integration.people.test_pages import link_for, somewhere
from tests.integration.platform.conftest import now

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def tenant(database: Database) -> TenantWithKey:
    return await make_tenant(database)


async def _invite(people: People, tenant: TenantWithKey, email: str) -> None:
    async with people.database.tx(tenant.tenant_id) as tx:
        await create_invitation(tx, email=email, role="trader", inviter=InvitationMail(people), now=now())


async def _members(database: Database, tenant: TenantWithKey) -> dict[str, str]:
    async with database.tx(tenant.tenant_id) as tx:
        return {row.email: row.role for row in (await list_members(tx, Cursor(50))).rows}


async def _token(people: People, sender: MailSender, mailbox: Mailbox, tenant: TenantWithKey, email: str) -> str:
    await _invite(people, tenant, email)
    await sender.send_due()
    return mailbox.token(email)


async def test_the_mail_says_who_asks_for_what_and_leads_to_the_page(
    people: People, sender: MailSender, mailbox: Mailbox, tenant: TenantWithKey
) -> None:
    email = fresh_email()
    token = await _token(people, sender, mailbox, tenant, email)
    (mail,) = mailbox.to(email)
    assert "trader" in mail.text and f"http://gateway/invitation?token={token}" in mail.text
    assert "invites you to Mandi" in mail.subject and token not in mail.subject and token not in repr(mail)


async def test_the_person_logs_in_by_the_link_and_joins_once(
    people: People,
    sender: MailSender,
    mailbox: Mailbox,
    browser: Browser,
    gateway_app: FastAPI,
    database: Database,
    tenant: TenantWithKey,
) -> None:
    who = await make_person(gateway_app.state.people)
    path = f"/invitation?token={await _token(people, sender, mailbox, tenant, who.email)}"
    stranger = await browser.get(path)
    assert stranger.status_code == 200 and "Accept" not in stranger.text
    login = re.search(r'href="(/login\?next=[^"]+)"', stranger.text)
    assert login is not None
    form = await browser.get(login[1])
    following = re.search(r'name="next" value="([^"]+)"', form.text)
    assert following is not None
    page = await browser.follow(await browser.log_in(who, next=following[1]))
    assert "Accept the invitation" in page.text and who.email in page.text
    token = path.partition("=")[2]
    joined = await browser.follow(await browser.send("/invitation", page=path, token=token))
    assert "You have joined." in joined.text
    assert await _members(database, tenant) == {who.email: "trader"}
    again = await browser.send("/invitation", page=path, token=token)
    assert again.status_code == 409 and "accepted already" in again.text


async def test_who_signs_up_from_an_invitation_comes_back_to_it_in_any_browser(
    people: People,
    sender: MailSender,
    mailbox: Mailbox,
    gateway_app: FastAPI,
    app_settings: Settings,
    database: Database,
    tenant: TenantWithKey,
    logged: io.StringIO,
) -> None:
    browser, another = Browser(gateway_app, ip=somewhere()), Browser(gateway_app, ip=somewhere())
    email, password = fresh_email(), fresh_password()
    token = await _token(people, sender, mailbox, tenant, email)
    joining = await browser.get(f"/invitation?token={token}")
    sign_up = await _led(browser, joining, "/signup")
    assert (await _led(browser, await _led(browser, sign_up, "/login"), "/signup")).text.count(token) == 2
    again = await browser.send("/signup", email=email, password="short", next=_next(sign_up))
    assert again.status_code == 422 and _next(again) == _next(sign_up), "a mistake does not lose the way"
    sent = await browser.send("/signup", email=email, password=password, next=_next(sign_up))
    assert token not in str(sent.headers) and browser.cookie("mandi_next") is None
    assert token not in str([dict(row) for row in await database.dispatch.fetch("select * from mail_requests")])
    link = await link_for(gateway_app, app_settings, email)
    assert link.startswith("/verify?token=") and token not in "".join(_mailed(app_settings.data_dir, email))
    wrong = await another.send("/verify", page=link, token=link.partition("=")[2], password=fresh_password())
    assert wrong.status_code == 401 and token not in wrong.text + str(wrong.headers)
    verified = await another.send("/verify", page=link, token=link.partition("=")[2], password=password)
    page = await another.follow(verified)
    assert "Accept the invitation" in page.text and email in page.text
    assert {wrong.headers["referrer-policy"], page.headers["referrer-policy"]} == {"no-referrer"}
    await another.follow(await another.send("/invitation", page=f"/invitation?token={token}", token=token))
    assert await _members(database, tenant) == {email: "trader"}
    assert token not in logged.getvalue() and "/verify" in logged.getvalue()


async def _sign_up(people: People, email: str, password: str, invitation: str) -> None:
    who = Visitor(ip=somewhere())
    await service.sign_up(people, email=email, password=password, visitor=who, now=now(), invitation=invitation)


async def test_beside_a_sign_up_the_token_rests_sealed_and_bound_to_its_row(
    people: People, sender: MailSender, mailbox: Mailbox
) -> None:
    emails, token = [fresh_email() for _ in range(2)], "mandi_inv_something"
    for email in emails:
        await _sign_up(people, email, fresh_password(), token)
    await sender.send_due()
    rows = []
    for email in emails:
        user_id = await find_by_mail_token(people.database.pool, hash_token(mailbox.token(email)), "sign_up", now=now())
        assert user_id is not None
        async with people.database.person(user_id) as tx:
            rows.append(await tx.get(SignUp, user_id))
    first, second = rows
    assert first is not None and second is not None and first.invitation is not None
    assert token.encode() not in first.invitation and first.invitation != second.invitation
    assert str(first.invitation) not in repr(first)
    assert unseal_token(people, first) == token
    first.invitation = second.invitation
    assert unseal_token(people, first) is None, "what was sealed for another row opens nothing"
    assert unseal_token(replace(people, letter_key=bytes([1] * 32)), second) is None


async def test_a_sign_up_goes_on_without_its_invitation_when_the_secret_was_changed(
    people: People, sender: MailSender, mailbox: Mailbox
) -> None:
    email, password = fresh_email(), fresh_password()
    await _sign_up(people, email, password, "mandi_inv_something")
    await sender.send_due()
    changed, token = replace(people, letter_key=bytes([1] * 32)), mailbox.token(email)
    who = Visitor(ip=somewhere())
    joined = await service.confirm_sign_up(changed, token=token, password=password, visitor=who, now=now())
    assert joined.login.token and joined.invitation is None


async def test_a_sign_up_leads_nowhere_else_and_to_no_way_of_an_earlier_one(
    gateway_app: FastAPI, app_settings: Settings
) -> None:
    browser, another = Browser(gateway_app, ip=somewhere()), Browser(gateway_app, ip=somewhere())
    for given in ("https://evil.example/", "//evil.example", "/\\evil.example"):
        page = await browser.http.get("/signup", params={"next": given})
        assert _next(page) == "/account/security"
        await browser.send("/signup", email=fresh_email(), password=fresh_password(), next=given)
        assert browser.cookie("mandi_next") is None
    email, password = fresh_email(), fresh_password()
    sent = await browser.send("/signup", email=email, password=password, next="/oauth/authorize?client_id=x")
    (cookie,) = [one for one in sent.headers.get_list("set-cookie") if one.startswith("mandi_next=")]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "Max-Age=86400" in cookie
    link = await link_for(gateway_app, app_settings, email)
    verified = await another.send("/verify", page=link, token=link.partition("=")[2], password=password)
    assert verified.headers["location"] == "/account/security", "what an application began stays in its browser"
    await browser.send("/signup", email=fresh_email(), password=fresh_password(), next="/invitation?token=x")
    assert browser.cookie("mandi_next") is None


def _next(page: httpx.Response) -> str:
    found = re.search(r'name="next" value="([^"]+)"', page.text)
    assert found is not None, page.text
    return html.unescape(found[1])


async def _led(browser: Browser, page: httpx.Response, path: str) -> httpx.Response:
    """Where the page's link to `path` leads."""
    found = re.search(rf'href="({path}\?next=[^"]+)"', page.text)
    assert found is not None, page.text
    return await browser.get(html.unescape(found[1]))


async def test_another_address_and_an_unsigned_form_join_nothing(
    people: People,
    sender: MailSender,
    mailbox: Mailbox,
    browser: Browser,
    gateway_app: FastAPI,
    database: Database,
    tenant: TenantWithKey,
) -> None:
    invited: Somebody = await make_person(gateway_app.state.people)
    other = await make_person(gateway_app.state.people)
    token = await _token(people, sender, mailbox, tenant, invited.email)
    path = f"/invitation?token={token}"
    await browser.log_in(other)
    refused = await browser.send("/invitation", page=path, token=token)
    assert refused.status_code == 403 and "another address" in refused.text
    forged = await browser.http.post("/invitation", data={"token": token, "form_token": "0" * 64})
    assert forged.status_code == 403
    nothing = await browser.send("/invitation", page=path, token="mandi_inv_nothing")
    assert nothing.status_code == 404
    assert await _members(database, tenant) == {}


async def test_until_it_is_mailed_the_token_rests_sealed_and_bound_to_its_row(
    people: People, sender: MailSender, mailbox: Mailbox, tenant: TenantWithKey
) -> None:
    emails = [fresh_email() for _ in range(2)]
    for email in emails:
        await _invite(people, tenant, email)
    dispatch = people.database.dispatch
    rows = [await dispatch.fetchrow("select * from mail_requests where email = $1", email) for email in emails]
    for row in rows:
        assert read_letter(people, row)["token"].encode() not in row["letter"]
        assert b"mandi_inv" not in row["letter"]
    with pytest.raises(UnsealError):
        read_letter(people, {"id": rows[0]["id"], "letter": rows[1]["letter"]})
    await sender.send_due()
    assert await dispatch.fetchval("select count(*) from mail_requests where email = any ($1)", emails) == 0
    assert len(mailbox.to(emails[0])) == 1


async def test_an_invitation_that_is_not_committed_is_not_mailed(
    people: People, sender: MailSender, mailbox: Mailbox, tenant: TenantWithKey
) -> None:
    email = fresh_email()
    with pytest.raises(ZeroDivisionError):
        async with people.database.tx(tenant.tenant_id) as tx:
            await create_invitation(tx, email=email, role="trader", inviter=InvitationMail(people), now=now())
            raise ZeroDivisionError
    await sender.send_due()
    assert mailbox.to(email) == [] and not people.mail_due.is_set()


async def test_inviting_leaves_the_transaction_nobodys(people: People, tenant: TenantWithKey) -> None:
    async with people.database.tx(tenant.tenant_id) as tx:
        await create_invitation(tx, email=fresh_email(), role="trader", inviter=InvitationMail(people), now=now())
        assert (await tx.scalars(text("select current_setting('app.user_id', true)"))).one() == ""


async def test_a_tenants_name_cannot_write_the_mails_head(
    people: People, sender: MailSender, mailbox: Mailbox, database: Database, tenant: TenantWithKey
) -> None:
    async with database.tx(tenant.tenant_id) as tx:
        await tx.execute(text("update tenants set name = E'Evil\nBcc: all@example.com\n\nhello'"))
    email = fresh_email()
    await _token(people, sender, mailbox, tenant, email)
    assert mailbox.to(email)[0].subject == "Evil Bcc: all@example.com hello invites you to Mandi"


async def test_a_tenants_name_cannot_write_into_the_mails_page(
    people: People, sender: MailSender, mailbox: Mailbox, database: Database, tenant: TenantWithKey
) -> None:
    async with database.tx(tenant.tenant_id) as tx:
        await tx.execute(text("update tenants set name = '<script>x</script> & Co'"))
    email = fresh_email()
    await _token(people, sender, mailbox, tenant, email)
    (mail,) = mailbox.to(email)
    assert mail.subject == "<script>x</script> & Co invites you to Mandi"
    assert "<script" not in mail.html and mail.html.count("&lt;script&gt;x&lt;/script&gt; &amp; Co") == 3


async def test_through_the_api_the_gateway_mails_it_and_nothing_else_tells_the_token(
    browser: Browser, app: App, app_settings: Settings, database: Database, tenant: TenantWithKey
) -> None:
    import asyncio

    email = fresh_email()
    body = {"email": email, "role": "read_only"}
    made: httpx.Response = await browser.http.post("/v1/invitations", headers=tenant.headers, json=body)
    assert made.status_code == 201, made.text
    async with asyncio.timeout(20):
        while not (found := _mailed(app_settings.data_dir, email)):
            await asyncio.sleep(0.05)
    token = found[0].partition("/invitation?token=")[2].split()[0]
    assert token.startswith("mandi_inv_") and token not in made.text
    async with database.tx(tenant.tenant_id) as tx:
        events = (await tx.scalars(text("select data::text from events"))).all()
    assert all(token not in event for event in events)
    again = await browser.http.post(f"/v1/invitations/{made.json()['id']}/resend", headers=tenant.headers)
    assert again.status_code == 200 and again.json()["id"] == encode_id("inv", await _invitation_id(database, tenant))


async def _invitation_id(database: Database, tenant: TenantWithKey) -> UUID:
    async with database.tx(tenant.tenant_id) as tx:
        found: UUID = (await tx.scalars(text("select id from invitations"))).one()
    return found


def _mailed(data_dir: Path, email: str) -> list[str]:
    found = [json.loads(path.read_text() or "{}") for path in sorted((data_dir / "mail").glob("*.json"))]
    return [mail["text"] + mail["html"] for mail in found if mail.get("to") == email]


async def test_a_letter_that_cannot_be_unsealed_keeps_no_other_mail_back(
    people: People, sender: MailSender, mailbox: Mailbox, tenant: TenantWithKey
) -> None:
    bad, good, stop = fresh_email(), fresh_email(), asyncio.Event()
    async with people.database.tx(tenant.tenant_id) as tx:
        asked = text("select people_request_letter(:id, :email, :letter, :now)")
        await tx.execute(asked, {"id": uuid7(), "email": bad, "letter": b"garbage", "now": now()})
    sending = asyncio.create_task(sender.run(stop))
    await _invite(people, tenant, good)
    async with asyncio.timeout(20):
        while not mailbox.to(good):
            await asyncio.sleep(0.05)
    assert mailbox.to(bad) == [] and not sending.done()
    stop.set()
    await sending
