"""A person of ours signs in on our pages, and grants a client access: no part of it replaced."""

import secrets

import httpx
import pytest
from fastapi import FastAPI

from app.infra.database import Database
from app.platform.oauth.domain import AuthMethod, GrantType
from app.platform.tenancy.domain import Role
from app.platform.tenancy.service import add_member, suspend_member
from tests.factories.oauth import CALLBACK, asking, bearer, make_client, query_of, redeem, refresh
from tests.factories.oauth import Browser as Client
from tests.factories.people import Browser, make_person
from tests.factories.tenants import make_tenant

pytestmark = pytest.mark.asyncio


async def test_a_member_signs_in_consents_and_the_client_acts_within_his_role(
    gateway_app: FastAPI, client: httpx.AsyncClient, database: Database
) -> None:
    tenant, who = await make_tenant(database), await make_person(gateway_app.state.people)
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
        await suspend_member(tx, member.id)
    refused = await client.get("/v1/orders", headers=bearer(tokens["access_token"]))
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
