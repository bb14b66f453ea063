"""A person of ours signs in on our pages, and grants a client access: no part of it replaced."""

import re
import secrets
from dataclasses import dataclass
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from app.adapters.mailbox.mailer import captured
from app.infra.database import Database
from app.infra.settings import Settings
from app.kernel.ids import encode_id
from app.platform.oauth.domain import AuthMethod, GrantType
from app.platform.oauth.service import IssuedClient
from app.platform.people.service import MailSender, People
from app.platform.people.service.mail import request_mail
from app.platform.tenancy.domain import Role
from app.platform.tenancy.service import add_member, suspend_member
from tests.factories.endings import Heard
from tests.factories.oauth import CALLBACK, asking, basic, bearer, make_client, query_of, redeem, refresh
from tests.factories.oauth import Browser as Client
from tests.factories.people import Browser, Mailbox, Somebody, fresh_password, make_person
from tests.factories.tenants import TenantWithKey, make_tenant
from tests.integration.platform.conftest import now

pytestmark = pytest.mark.asyncio


@dataclass
class Signed:
    """A member of ours who signed in with a browser, and the application that they let act for them."""

    browser: Browser
    who: Somebody
    member_id: UUID
    tenant: TenantWithKey
    application: IssuedClient
    http: httpx.AsyncClient

    async def grant(self, browser: Browser | None = None) -> dict[str, str]:
        """Tokens by the login of `browser`."""
        used = browser or self.browser
        asked = {name: value for name, value in asking(self.application).items() if value is not None}
        answer = await used.http.get("/oauth2/authorize", params=asked)
        if answer.status_code == 200:
            answer = await Client(used.http).answer(answer)
        found = query_of(answer.headers["Location"])
        return dict((await redeem(self.http, self.application, found["code"])).json())

    async def stand(self, tokens: dict[str, str]) -> tuple[int, int]:
        """What the access token opens, and what becomes of the refresh token."""
        opened = await self.http.get("/v1/orders", headers=bearer(tokens["access_token"]))
        return opened.status_code, (await refresh(self.http, self.application, tokens["refresh_token"])).status_code


async def _member_and_application(
    app: FastAPI, database: Database
) -> tuple[TenantWithKey, Somebody, UUID, IssuedClient]:
    """An analyst of a tenant, and an application that asks for more than an analyst may."""
    tenant, who = await make_tenant(database), await make_person(app.state.people)
    async with database.tx(tenant.tenant_id) as tx:
        member = await add_member(tx, email=who.email, role=Role.ANALYST, user_id=who.person.id)
    application = await make_client(
        database,
        tenant.tenant_id,
        method=AuthMethod.BASIC,
        grants=(GrantType.CODE, GrantType.REFRESH),
        scopes=("openid", "orders:read", "orders:write"),
        redirect_uris=(CALLBACK,),
    )
    return tenant, who, member.id, application


@pytest_asyncio.fixture
async def signed(gateway_app: FastAPI, client: httpx.AsyncClient, database: Database) -> Signed:
    tenant, who, member_id, application = await _member_and_application(gateway_app, database)
    browser = Browser(gateway_app)
    await browser.log_in(who)
    return Signed(browser, who, member_id, tenant, application, client)


ENDED, GOES_ON = (401, 400), (200, 200)


async def test_signing_out_ends_what_that_login_granted_and_no_other(signed: Signed, gateway_app: FastAPI) -> None:
    elsewhere = Browser(gateway_app, ip="203.0.113.9")
    await elsewhere.log_in(signed.who)
    mine, theirs = await signed.grant(), await signed.grant(elsewhere)
    assert (await signed.http.get("/v1/orders", headers=bearer(mine["access_token"]))).status_code == 200
    await signed.browser.send("/logout")
    form = {"token": mine["refresh_token"]}
    told = await signed.http.post("/oauth2/introspect", data=form, headers=basic(signed.application))
    assert told.json() == {"active": False}
    assert await signed.stand(mine) == ENDED
    assert await signed.stand(theirs) == GOES_ON


async def test_a_code_of_a_login_that_ended_meanwhile_is_worth_nothing(signed: Signed) -> None:
    await signed.grant()  # so that nobody is asked
    asked = {name: value for name, value in asking(signed.application).items() if value is not None}
    answer = await signed.browser.http.get("/oauth2/authorize", params=asked)
    code = query_of(answer.headers["Location"])["code"]
    await signed.browser.send("/logout")
    late = await redeem(signed.http, signed.application, code)
    assert (late.status_code, late.json()["error"]) == (400, "invalid_grant")


async def test_a_login_ended_from_another_one_takes_its_tokens_along(signed: Signed, gateway_app: FastAPI) -> None:
    mine = await signed.grant()
    elsewhere = Browser(gateway_app, ip="203.0.113.9")
    await elsewhere.log_in(signed.who)
    page = (await elsewhere.get("/account/security")).text
    (path,) = re.findall(r'action="(/account/sessions/ses_[^"]+/end)"', page)
    await elsewhere.send(path, page="/account/security")
    assert await signed.stand(mine) == ENDED


async def test_a_new_password_ends_the_tokens_of_all_other_logins(signed: Signed, gateway_app: FastAPI) -> None:
    elsewhere = Browser(gateway_app, ip="203.0.113.9")
    await elsewhere.log_in(signed.who)
    mine, theirs = await signed.grant(), await signed.grant(elsewhere)
    fields = {"current": signed.who.password, "password": fresh_password()}
    changed = await signed.browser.send("/account/security/password", page="/account/security", **fields)
    assert changed.status_code == 303
    assert await signed.stand(theirs) == ENDED
    assert await signed.stand(mine) == GOES_ON


async def test_a_reset_password_ends_every_token(signed: Signed, gateway_app: FastAPI, app_settings: Settings) -> None:
    mine = await signed.grant()
    people: People = gateway_app.state.people
    mailbox = Mailbox()
    sender = MailSender(people, mailbox, public_url="http://gateway", clock=now)
    stranger = Browser(gateway_app, ip="203.0.113.77")
    async with people.database.person(signed.who.person.id) as tx:
        request_mail(tx, "password_reset", signed.who.email, now=now())
    await sender.send_due()
    token = mailbox.token(signed.who.email) if mailbox.to(signed.who.email) else await _mailed(app_settings, signed.who)
    await stranger.send("/reset", page=f"/reset?token={token}", token=token, password=fresh_password())
    assert await signed.stand(mine) == ENDED


async def _mailed(settings: Settings, who: Somebody) -> str:
    """The gateway's own sender may have been faster."""
    texts = [one.mail.text for one in captured(settings.data_dir) if one.mail.to == who.email]
    return texts[-1].partition("/reset?token=")[2].split()[0]


@pytest.mark.parametrize("how", ["suspend", "remove"])
async def test_a_member_who_goes_loses_tokens_for_ever(signed: Signed, database: Database, how: str) -> None:
    mine = await signed.grant()
    path = f"/v1/members/{encode_id('mem', signed.member_id)}"
    if how == "suspend":
        assert (await signed.http.post(f"{path}/suspend", headers=signed.tenant.headers)).status_code == 200
        assert (await signed.http.post(f"{path}/reactivate", headers=signed.tenant.headers)).status_code == 200
    else:
        assert (await signed.http.delete(path, headers=signed.tenant.headers)).status_code == 204
        async with database.tx(signed.tenant.tenant_id) as tx:
            await add_member(tx, email=signed.who.email, role=Role.ANALYST, user_id=signed.who.person.id)
    assert await signed.stand(mine) == ENDED
    assert await signed.stand(await signed.grant()) == GOES_ON


async def test_a_suspension_that_is_not_committed_ends_nothing(
    signed: Signed, gateway_app: FastAPI, database: Database
) -> None:
    mine = await signed.grant()
    tokens = gateway_app.state.tenancy.tokens
    with pytest.raises(ZeroDivisionError):
        async with database.tx(signed.tenant.tenant_id) as tx:
            await suspend_member(tx, signed.member_id, tokens=tokens, now=now())
            raise ZeroDivisionError
    assert await signed.stand(mine) == GOES_ON


async def test_a_proof_that_is_too_old_is_renewed_in_the_same_login(signed: Signed) -> None:
    mine = await signed.grant()
    asked = {name: value for name, value in asking(signed.application, max_age="0").items() if value is not None}
    sent_away = await signed.browser.http.get("/oauth2/authorize", params=asked)
    where = sent_away.headers["location"]
    assert where.startswith("/account/confirm?next=%2Foauth2%2Fauthorize")
    fields = {"password": signed.who.password, "next": query_of(where)["next"]}
    answer = await signed.browser.follow(await signed.browser.send("/account/confirm", page=where, **fields))
    assert answer.headers["location"].startswith(CALLBACK)
    assert await signed.stand(mine) == GOES_ON


async def test_a_member_signs_in_consents_and_the_client_acts_within_his_role(
    gateway_app: FastAPI, client: httpx.AsyncClient, database: Database
) -> None:
    tenant, who, member_id, application = await _member_and_application(gateway_app, database)
    browser = Browser(gateway_app)
    asked = asking(application, scope="openid orders:read orders:write", state=secrets.token_hex(4))
    wanted = {name: value for name, value in asked.items() if value is not None}
    sent_away = await browser.http.get("/oauth2/authorize", params=wanted)
    assert sent_away.status_code == 303 and sent_away.headers["location"].startswith(
        "/login?next=%2Foauth2%2Fauthorize"
    )
    page = await browser.follow(await browser.log_in(who, next=query_of(sent_away.headers["location"])["next"]))
    assert page.status_code == 200 and who.email in page.text and "orders:write" not in page.text
    answer = await Client(browser.http).answer(page)
    found = query_of(answer.headers["Location"])
    assert found["state"] == asked["state"] and found["iss"] == "https://issuer.example"
    tokens = (await redeem(client, application, found["code"])).json()
    assert set(tokens["scope"].split()) == {"openid", "orders:read"}  # an analyst places no orders
    allowed = await client.get("/v1/orders", headers=bearer(tokens["access_token"]))
    assert allowed.status_code == 200
    async with database.tx(tenant.tenant_id) as tx:
        await suspend_member(tx, member_id, tokens=Heard(), now=now())
    refused = await client.get("/v1/orders", headers=bearer(tokens["access_token"]))  # whose end nobody published
    assert (refused.status_code, refused.json()["code"]) == (403, "role_lacks_permission")
    ended = await refresh(client, application, tokens["refresh_token"])
    assert (ended.status_code, ended.json()["error"]) == (400, "invalid_grant")


async def test_a_person_who_is_no_member_grants_nothing(
    gateway_app: FastAPI, client: httpx.AsyncClient, database: Database
) -> None:
    tenant, who = await make_tenant(database), await make_person(gateway_app.state.people)
    application = await make_client(
        database,
        tenant.tenant_id,
        method=AuthMethod.BASIC,
        grants=(GrantType.CODE,),
        scopes=("openid", "orders:read"),
        redirect_uris=(CALLBACK,),
    )
    browser = Browser(gateway_app)
    await browser.log_in(who)
    wanted = {name: value for name, value in asking(application).items() if value is not None}
    answer = await browser.http.get("/oauth2/authorize", params=wanted)
    assert query_of(answer.headers["location"])["error"] == "access_denied"
