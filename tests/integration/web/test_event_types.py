"""What really happens is told as the slices declare it: real flows, every event of their tenants held to its type."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from pydantic import ValidationError
from sqlalchemy import text

from app.bootstrap import App
from app.custody.funding.domain import News
from app.custody.funding.service import hear
from app.custody.ledger.service import reverse
from app.infra.crypto.rotation import rotate_tenant
from app.infra.database import Tx
from app.infra.settings import Settings
from app.kernel.ids import decode_id, encode_id
from app.kernel.money import Money
from app.kernel.orders import Fill, OrderType, Side
from app.main import create_app
from app.platform.plans.service import assign_plan, mark_paid, mark_past_due
from app.platform.tenancy.domain import Role, TenantStatus
from app.platform.tenancy.ports import InvitationLetter
from app.platform.tenancy.service import accept_invitation, create_invitation, create_tenant, set_status
from app.trading.brokers.ports import Accepted, Rejected, Unknown
from app.trading.orders.service.executing import submit
from app.trading.orders.service.filling import record_fill
from tests.architecture.event_types import declared
from tests.factories.entitlements import limit_tenant
from tests.factories.logins import logged_in
from tests.factories.members import Person, make_person
from tests.factories.receiver import receiver
from tests.factories.tenants import TenantWithKey, make_tenant
from tests.factories.work import replay_dead_work
from tests.integration.insight.conftest import Desk, instrument, tenant_alone
from tests.integration.insight.test_sweep_api import GRID, PROGRAM, work
from tests.integration.platform.test_webhooks import Hooks
from tests.integration.trading.conftest import AT, PRICE, Venue
from tests.integration.trading.conftest import venue as venue
from tests.integration.trading.scripted import Scripted, changed_and_not, item, troubled
from tests.integration.trading.test_corporate_actions import action, happens
from tests.integration.trading.test_live_exits import raced

pytestmark = pytest.mark.asyncio
TYPES = {one.name: one for one in declared()}


@dataclass
class Flows:
    """The gateway, and the tenants that something happened to."""

    app: App
    gateway: FastAPI
    http: httpx.AsyncClient
    tenants: list[UUID] = field(default_factory=list)

    async def call(self, who: dict[str, str], method: str, path: str, body: object = None) -> dict[str, Any]:
        """A request that succeeds."""
        answer = await self.http.request(method, f"/v1{path}", headers=who, json=body)
        assert answer.is_success, f"{method} {path}: {answer.text}"
        found: dict[str, Any] = answer.json() if answer.content else {}
        return found

    async def made(self, who: dict[str, str], path: str, **body: Any) -> str:
        """The id of what a POST made."""
        return str((await self.call(who, "POST", path, body))["id"])

    async def person(self, tenant_id: UUID, role: Role = Role.OWNER) -> Person:
        return await make_person(self.app.database, tenant_id, role)

    async def login(self, who: Person) -> dict[str, str]:
        return await logged_in(self.gateway, self.app.database, who)

    async def events(self) -> list[tuple[str, dict[str, Any]]]:
        """Every event of the tenants: type and payload."""
        found = []
        for tenant_id in self.tenants:
            async with self.app.database.tx(tenant_id) as tx:
                rows = await tx.execute(text("select type, data from events order by id"))
                found += [(row.type, row.data) for row in rows]
        return found


@pytest_asyncio.fixture
async def flows(app: App, app_settings: Settings) -> AsyncIterator[Flows]:
    gateway = create_app(app_settings)
    async with LifespanManager(gateway, startup_timeout=30, shutdown_timeout=30):
        transport = httpx.ASGITransport(app=gateway)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            yield Flows(app, gateway, http)


def _now() -> datetime:
    return datetime.now(UTC)


class _Letters:
    """Keeps the token that would be mailed."""

    token = ""

    async def invite(self, tx: Tx, letter: InvitationLetter) -> None:
        self.token = letter.token


async def _people(flows: Flows) -> None:
    tenant = await make_tenant(flows.app.database)
    flows.tenants.append(tenant.tenant_id)
    boss, other = await flows.person(tenant.tenant_id), await flows.person(tenant.tenant_id, Role.ADMIN)
    who, member = boss.headers, f"/members/{other.member}"
    role = await flows.made(who, "/roles", name="desk", permissions=["orders:read"])
    await flows.call(who, "PATCH", f"/roles/{role}", {"permissions": ["orders:read", "roles:read"]})
    await flows.call(who, "DELETE", f"/roles/{role}")
    proposal = {"action": "member.make_owner", "payload": {"member_id": other.member}}
    rejected, approved = [await flows.made(who, "/approvals", **proposal) for _ in range(2)]
    await flows.call(other.headers, "POST", f"/approvals/{rejected}/reject", {"reason": "not today"})
    await flows.call(await flows.login(other), "POST", f"/approvals/{approved}/approve")
    await flows.call(who, "PATCH", member, {"role": "owner", "approval_id": approved})
    for method, path in (("POST", "/suspend"), ("POST", "/reactivate"), ("DELETE", "")):
        await flows.call(who, method, f"{member}{path}")
    invited = await flows.made(who, "/invitations", email="ravi@example.com", role="trader")
    await flows.call(who, "POST", f"/invitations/{invited}/resend")
    await flows.call(who, "DELETE", f"/invitations/{invited}")
    letters = _Letters()
    async with flows.app.database.tx(tenant.tenant_id) as tx:
        await create_invitation(tx, email="uma@example.com", role="trader", inviter=letters, now=_now())
    await accept_invitation(
        flows.app.database, letters.token, user_id=tenant.key_row, email="uma@example.com", now=_now()
    )


async def _tenants(flows: Flows) -> None:
    parent = await make_tenant(flows.app.database)
    child = await create_tenant(flows.app.database, slug="below", name="Below", parent_id=parent.tenant_id)
    flows.tenants += [parent.tenant_id, child]
    boss, head = await flows.person(parent.tenant_id), await flows.person(child)
    grant = await flows.made(
        boss.headers, "/act_as_grants", tenant_id=encode_id("ten", child), reason="ticket 4711", minutes=30
    )
    await flows.call(boss.headers | {"Mandi-Act-As": grant}, "POST", "/clients", {"external_ref": "C", "name": "Asha"})
    await flows.call(head.headers, "DELETE", f"/act_as_grants/{grant}")
    for status in (TenantStatus.SUSPENDED, TenantStatus.ACTIVE):
        async with flows.app.database.tx(child) as tx:
            await set_status(tx, status)
    await flows.call(await flows.login(head), "DELETE", "/tenant")


async def _credentials(flows: Flows, tenant: TenantWithKey) -> None:
    who = tenant.headers
    key = await flows.made(who, "/api_keys", name="robot", scopes=["orders:read"])
    await flows.call(who, "DELETE", f"/api_keys/{key}")
    robot = {"name": "robot", "auth_method": "client_secret_basic", "grant_types": ["client_credentials"]}
    client = await flows.made(who, "/oauth_clients", **robot, scopes=["orders:read"])
    await flows.call(who, "PATCH", f"/oauth_clients/{client}", {"name": "other"})
    await flows.call(who, "POST", f"/oauth_clients/{client}/secret")
    await flows.call(who, "DELETE", f"/oauth_clients/{client}")


async def _webhooks(flows: Flows, tenant: TenantWithKey) -> None:
    hooks, where = Hooks(flows.app, flows.http, tenant), "/webhook_endpoints"
    with receiver() as inbox:
        made = await flows.made(tenant.headers, where, url=inbox.url, event_types=["webhook_endpoint.*"])
        await flows.call(tenant.headers, "PATCH", f"{where}/{made}", {"event_types": ["order.*", "*"]})
        for path in ("rotate_secret", "test"):
            await flows.call(tenant.headers, "POST", f"{where}/{made}/{path}")
        inbox.answers = [(410, {}, b"")]
        await hooks.stamp()
        await hooks.deliver()
        await flows.call(tenant.headers, "DELETE", f"{where}/{made}")


async def _standing(flows: Flows, tenant: TenantWithKey) -> None:
    """What no route leads to: billing, and the keys that seal secrets."""
    database, sealer = flows.app.database, flows.app.sealer
    await limit_tenant(database, tenant.tenant_id, accounts=50)
    async with database.tx(tenant.tenant_id) as tx:
        await assign_plan(tx, "free", reason="a test", now=_now())
        await mark_past_due(tx, _now(), now=_now())
        await mark_paid(tx, now=_now())
    await rotate_tenant(database, sealer.keys, tenant.tenant_id)
    async with database.tx(tenant.tenant_id) as tx:
        await sealer.erase(tx)


async def _custody(flows: Flows, tenant: TenantWithKey) -> None:
    who = tenant.headers
    client = await flows.made(who, "/clients", external_ref="C-1", name="Asha")
    for change in ({"name": "Asha K."}, {"status": "closed"}, {"status": "active"}):
        await flows.call(who, "PATCH", f"/clients/{client}", change)
    account = await flows.made(who, "/accounts", name="a", currency="USD", opening_balance="1000.00", client_id=client)
    limits = f"/accounts/{account}/risk_limits"
    await flows.call(who, "PUT", f"{limits}/max_order_value", {"parameters": {"limit": "250.00"}})
    await flows.call(who, "PUT", f"{limits}/max_open_orders", {"parameters": {"limit": 5}})
    await flows.call(who, "DELETE", f"{limits}/max_open_orders")


async def _money(flows: Flows, owner: Person) -> None:
    """Payments that end in every way, a break that is explained, a transaction that is undone."""
    account = await flows.made(owner.headers, "/accounts", name="b", currency="USD", opening_balance="1000.00")
    body = {"account_id": account, "amount": "10.00"}
    ten = Money(10_00, "USD")
    endings = (
        ("/deposits", ten, True),
        ("/deposits", ten, False),
        ("/deposits", Money(9_00, "USD"), True),
        ("/withdrawals", ten, True),
        ("/withdrawals", ten, False),
    )
    for path, amount, paid in endings:
        shown = await flows.made(owner.headers, path, **body)
        async with flows.app.database.tx(owner.tenant_id) as tx:
            news = News(shown, amount, final=True, paid=paid)
            await hear(tx, "sandbox", decode_id(shown[:3], shown), news, now=_now())
    (difference,) = (await flows.call(owner.headers, "GET", "/breaks"))["data"]
    await flows.call(owner.headers, "POST", f"/breaks/{difference['id']}/resolve", {"reason": "a fee of the bank"})
    listed = await flows.call(owner.headers, "GET", f"/ledger_transactions?account_id={account}")
    (deposit,) = [one["id"] for one in listed["data"] if one["kind"] == "deposit"]
    async with flows.app.database.tx(owner.tenant_id) as tx:
        await reverse(tx, decode_id("ltx", deposit), reason="the bank took it back", approval_id=None, now=_now())


async def _orders(flows: Flows, venue: Venue, who: dict[str, str]) -> None:
    body = {
        "account_id": encode_id("acc", venue.account_id),
        "instrument_id": encode_id("ins", venue.instrument_id),
        "side": "buy",
        "order_type": "limit",
    }
    bought = await flows.made(who, "/orders", **body, quantity="200", limit_price="19.00")
    await flows.made(who, "/orders", **body, quantity="1", limit_price="10.00")
    denied = await flows.call(who, "POST", "/orders", body | {"quantity": "900000", "limit_price": "20.00"})
    assert denied["status"] == "denied"
    for cancel in (False, True):
        order = await flows.made(who, "/orders", **body, quantity="1", limit_price="9.00", validity="gtc")
        if cancel:
            await flows.call(who, "POST", f"/orders/{order}/cancel")
    await venue.work()
    await venue.show(PRICE, 185_000)
    await venue.show(185_000, close=True)
    assert (await flows.call(who, "GET", f"/orders/{bought}"))["status"] == "filled"
    stop = {"side": "sell", "order_type": "sl_m", "trigger_price": "17.00", "validity": "gtt"}
    waiting = await flows.made(who, "/orders", **body | stop, quantity="1")
    await flows.call(who, "PATCH", f"/orders/{waiting}", {"trigger_price": "18.00"})
    await venue.show(180_000)
    for outcome in (Rejected("not today"), Unknown("no answer"), Accepted("V1")):
        placed = await venue.order(order_type=OrderType.LIMIT, limit_price=PRICE)
        await submit(venue.desk(Scripted([outcome])), item(venue, placed.id))
    await changed_and_not(venue, placed.id)
    part = Fill(placed.id, "v1", venue.instrument_id, Side.BUY, 4, PRICE, 0, AT)
    assert await record_fill(venue.app.database.pool, venue.tenant_id, part) == "recorded"
    await troubled(venue)
    await raced(venue)
    for entry in (action(venue, "dividend", amount=2_500), action(venue, "split", numerator=2, denominator=1)):
        await happens(venue, entry)


async def _halts(flows: Flows, owner: Person) -> None:
    login = await flows.login(owner)
    halt = (await flows.call(login, "POST", "/halts", {"reason": "prices look wrong", "mode": "reduce_only"}))["id"]
    await flows.call(login, "DELETE", f"/halts/{halt}")


async def _strategies(flows: Flows, venue: Venue, who: dict[str, str]) -> None:
    names = {"name": "s", "template": "mean_reversion", "parameters": {"entry_z": -0.5}}
    strategy = await flows.made(who, "/strategies", **names)
    await flows.made(who, "/strategies", name="own", program=PROGRAM)
    where = {"account_id": encode_id("acc", venue.account_id), "instruments": [encode_id("ins", venue.instrument_id)]}
    deployment = await flows.made(who, "/deployments", strategy_id=strategy, **where)
    for verb in ("pause", "resume"):
        await flows.call(who, "POST", f"/deployments/{deployment}/{verb}")
    (row,) = await venue.rows("select id from deployments")
    for _ in range(3):  # as a worker does when a bar fails
        fails = "select strategies_fail($1, $2, 'the model is broken')"
        await venue.app.database.pool.execute(fails, venue.tenant_id, row["id"])
    await flows.call(who, "POST", f"/deployments/{deployment}/stop")


async def _research(flows: Flows) -> None:
    desk = Desk(flows.app, flows.http, await tenant_alone(flows.app))
    flows.tenants.append(desk.tenant.tenant_id)
    await desk.cancel(await desk.made())
    await desk.ran()
    await desk.made()
    await flows.app.database.dispatch.execute(  # as if three workers had died of it
        "update work_items set attempts = 3 where tenant_id = $1 and state = 'ready'", desk.tenant.tenant_id
    )
    await desk.work()
    sweep = {"program": PROGRAM, "instruments": [instrument("GOOG")], "end": "2005-12-31", "cash": "100000"}
    cancelled = await flows.made(desk.tenant.headers, "/sweeps", **sweep, grid=GRID)
    await flows.call(desk.tenant.headers, "POST", f"/sweeps/{cancelled}/cancel")
    for grid in (GRID, {"fast": "-1,0"}):
        await flows.made(desk.tenant.headers, "/sweeps", **sweep, grid=grid)
        await work(desk)


async def test_every_event_that_happens_is_of_a_declared_type_and_carries_what_it_describes(
    flows: Flows, venue: Venue
) -> None:
    """One test, since at the end it has seen every declared type, without an exception."""
    flows.tenants.append(venue.tenant_id)
    owner = await flows.person(venue.tenant_id)
    tenant = TenantWithKey(venue.tenant_id, owner.secret, owner.key_id)
    await _people(flows)
    await _tenants(flows)
    await _credentials(flows, tenant)
    await _custody(flows, tenant)
    await _money(flows, owner)
    await _orders(flows, venue, tenant.headers)
    await _halts(flows, owner)
    await _strategies(flows, venue, tenant.headers)
    await _research(flows)
    await replay_dead_work(flows.app.database, venue.tenant_id)
    await _webhooks(flows, tenant)
    await _standing(flows, tenant)
    wrong, seen = [], set()
    for name, data in await flows.events():
        seen.add(name)
        try:
            TYPES[name].payload.model_validate_json(json.dumps(data))
        except (KeyError, ValidationError) as error:
            wrong.append(f"{name} {data}: {error}")
    assert wrong == []
    assert {*TYPES} - seen == set()


async def test_a_type_shows_its_subjects_own_prefix_and_a_filter_takes_it(flows: Flows) -> None:
    tenant = await make_tenant(flows.app.database)
    await _custody(flows, tenant)
    await Hooks(flows.app, flows.http, tenant).stamp()
    shown = (await flows.call(tenant.headers, "GET", "/events?limit=100"))["data"]
    assert {"client.changed", "account.opened", "risk_limit.set", "risk_limit.cleared"} <= {
        one["type"] for one in shown
    }
    for event in shown:
        assert event["subject_id"].startswith(f"{TYPES[event['type']].subject}_"), event
    one = (await flows.call(tenant.headers, "GET", "/events?type=risk_limit.cleared"))["data"]
    assert [event["type"] for event in one] == ["risk_limit.cleared"]


@pytest.mark.parametrize(
    ("pattern", "remedy"), [("order.fillled", "order.filled"), ("order.x*", "order.filled"), ("ordre.*", "order.*")]
)
async def test_a_misspelt_type_is_refused_at_every_door_with_what_there_is(
    flows: Flows, pattern: str, remedy: str
) -> None:
    who = (await make_tenant(flows.app.database)).headers
    body = {"url": "https://hooks.example/x", "event_types": ["order.*", pattern]}
    for param, asked in (
        ("type", flows.http.get("/v1/events", headers=who, params={"type": pattern})),
        ("types", flows.http.get("/v1/events/stream", headers=who, params={"types": pattern})),
        ("event_types", flows.http.post("/v1/webhook_endpoints", headers=who, json=body)),
    ):
        answer = await asked
        problem = answer.json()
        assert (answer.status_code, problem["code"], problem["param"]) == (422, "unknown_event_type", param)
        assert pattern in problem["detail"] and f" {remedy}" in problem["detail"]


async def test_the_page_and_the_list_have_every_type_with_its_fields(flows: Flows) -> None:
    page, listed = await flows.http.get("/events"), await flows.http.get("/events.json")
    assert "script" not in page.text and page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert [entry["type"] for entry in listed.json()["data"]] == sorted(TYPES)
    for entry in listed.json()["data"]:
        _, _, section = page.text.partition(f'<section id="{entry["type"]}">')
        section = section.partition("</section>")[0]
        for name in entry["data"].get("properties", {}):
            assert f"<code>{name}</code>" in section
    shown = (await flows.http.get("/openapi.json")).json()["components"]["schemas"]["EventOut"]["properties"]
    assert shown["type"]["x-extensible-enum"] == sorted(TYPES)
    assert "/events" in shown["data"]["description"]
