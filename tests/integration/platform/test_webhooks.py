"""Webhooks: what an endpoint hears, how it is signed, tried again, given up; and what the API shows of it."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from app.bootstrap import App
from app.infra.outbound.client import OutboundClient
from app.infra.work.runner import drain
from app.infra.work.tables import shard_of
from app.kernel.ids import decode_id, encode_id, uuid7
from app.platform.notifications.domain import SCHEDULE
from app.platform.notifications.service import WEBHOOKS, handlers, run_webhooks
from app.platform.notifications.service.delivering import AT_ONCE
from app.platform.notifications.service.following import follow
from tests.factories.receiver import Received, Receiver, receiver
from tests.factories.tenants import TenantWithKey, make_tenant

pytestmark = pytest.mark.asyncio
PATH, DELIVERIES = "/v1/webhook_endpoints", "/v1/webhook_deliveries"


class Clock:
    """The wall clock, moved on when told to."""

    ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class Hooks:
    """A tenant whose events are followed and delivered as daemon and worker do, by a clock of the test's."""

    def __init__(self, app: App, client: httpx.AsyncClient, tenant: TenantWithKey) -> None:
        self.clock = Clock()
        self.app = replace(app, clock=self.clock)
        self.client, self.tenant = client, tenant

    async def call(self, method: str, path: str = "", body: Any = None, *, status: int = 200) -> Any:
        where = path if path.startswith("/v1") else f"{PATH}{path}"
        answer = await self.client.request(method, where, headers=self.tenant.headers, json=body)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def endpoint(self, url: str, *event_types: str) -> dict[str, Any]:
        made: dict[str, Any] = await self.call("POST", "", {"url": url, "event_types": list(event_types)}, status=201)
        return made

    async def emit(self, *event_types: str) -> None:
        async with self.app.database.tx(self.tenant.tenant_id) as tx:
            for event_type in event_types:
                tx.emit(event_type, uuid7(), {"n": 1})
        await self.stamp()

    async def stamp(self) -> None:
        while await self.app.database.dispatch.fetchval("select events_position(1000)"):
            pass

    async def deliver(self) -> None:
        """Follow what was stamped, and run the work that is ready now; waits of earlier failures count as over."""
        while await follow(self.app, self.tenant.tenant_id):
            pass
        await self.app.database.dispatch.execute(
            "update work_items set available_at = clock_timestamp() where tenant_id = $1 and state = 'ready'",
            self.tenant.tenant_id,
        )
        run = handlers(self.app, OutboundClient(loopback=True))
        await drain(self.app.database.dispatch, run, WEBHOOKS, shard_of(self.tenant.tenant_id), holder="test")

    async def deliveries(self, endpoint: Mapping[str, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.call("GET", f"/{endpoint['id']}/deliveries"))["data"]
        return found

    async def events(self, prefix: str) -> list[str]:
        async with self.app.database.tx(self.tenant.tenant_id) as tx:
            rows = await tx.execute(text("select type from events order by id"))
            return [kind for (kind,) in rows if kind.startswith(prefix)]


@pytest_asyncio.fixture
async def hooks(app: App, client: httpx.AsyncClient) -> Hooks:
    return Hooks(app, client, await make_tenant(app.database))


@pytest.fixture
def inbox() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def verified(secret: str, received: Received) -> Any:
    """The body, when the secret's signature is among those sent."""
    return Webhook(secret).verify(received.body, received.headers)


async def test_an_endpoint_hears_the_events_it_named_signed_and_once(hooks: Hooks, inbox: Receiver) -> None:
    await hooks.emit("order.placed")  # before it existed
    endpoint = await hooks.endpoint(inbox.url, "order.*")
    assert endpoint["secret"].startswith("whsec_")
    await hooks.emit("order.filled", "account.opened", "order.cancelled")
    for _ in range(2):
        await hooks.deliver()
    bodies = [verified(endpoint["secret"], one) for one in inbox.received]
    assert sorted(body["type"] for body in bodies) == ["order.cancelled", "order.filled"]
    assert [body["id"] for body in bodies] == [one.headers["Webhook-Id"] for one in inbox.received]
    listed = (await hooks.client.get("/v1/events", headers=hooks.tenant.headers)).json()["data"]
    assert all(body in listed for body in bodies)
    assert {row["status"] for row in await hooks.deliveries(endpoint)} == {"succeeded"}


async def test_a_stranger_cannot_forge_a_delivery(hooks: Hooks, inbox: Receiver) -> None:
    endpoint = await hooks.endpoint(inbox.url, "order.*")
    await hooks.emit("order.filled")
    await hooks.deliver()
    sent = inbox.received[-1]
    with pytest.raises(WebhookVerificationError):
        verified("whsec_" + "A" * 43, sent)
    with pytest.raises(WebhookVerificationError):
        verified(endpoint["secret"], replace(sent, body=sent.body.replace(b"order", b"wrong")))
    with pytest.raises(WebhookVerificationError):
        verified(endpoint["secret"], replace(sent, headers=sent.headers | {"Webhook-Id": "evt_other"}))


async def test_while_a_secret_rotates_both_sign(hooks: Hooks, inbox: Receiver) -> None:
    endpoint = await hooks.endpoint(inbox.url, "order.*")
    rotated = await hooks.call("POST", f"/{endpoint['id']}/rotate_secret")
    assert rotated["secret"] != endpoint["secret"] and rotated["former_secret_until"]
    await hooks.emit("order.filled")
    await hooks.deliver()
    for secret in (endpoint["secret"], rotated["secret"]):
        assert verified(secret, inbox.received[-1])["type"] == "order.filled"
    hooks.clock.ahead = timedelta(hours=24, minutes=1)
    await hooks.emit("order.filled")
    await hooks.deliver()
    assert len(inbox.received[-1].headers["Webhook-Signature"].split()) == 1


async def test_a_failed_delivery_is_tried_by_the_schedule_and_then_given_up(hooks: Hooks, inbox: Receiver) -> None:
    endpoint = await hooks.endpoint(inbox.url, "order.*")
    inbox.answers = [(503, {}, b"busy")]
    await hooks.emit("order.filled")
    for attempt in range(1, len(SCHEDULE) + 1):
        await hooks.deliver()
        (row,) = await hooks.deliveries(endpoint)
        assert (row["attempts"], row["response_status"], row["response_body"]) == (attempt, 503, "busy")
        if attempt < len(SCHEDULE):
            assert row["status"] == "pending"
            wait = (datetime.fromisoformat(row["next_at"]) - hooks.clock()).total_seconds()
            assert 0.8 * SCHEDULE[attempt] - 30 <= wait <= 1.2 * SCHEDULE[attempt]
    assert (row["status"], row["next_at"]) == ("failed", None)
    await hooks.deliver()
    assert len(inbox.received) == len(SCHEDULE)
    assert len({one.headers["Webhook-Id"] for one in inbox.received}) == 1


async def test_a_failure_holds_up_no_other_delivery(hooks: Hooks, inbox: Receiver) -> None:
    endpoint = await hooks.endpoint(inbox.url, "order.*")
    inbox.answers = [(500, {}, b""), (204, {}, b"")]
    await hooks.emit("order.filled")
    await hooks.deliver()
    await hooks.emit("order.cancelled")
    while await follow(hooks.app, hooks.tenant.tenant_id):
        pass
    run = handlers(hooks.app, OutboundClient(loopback=True))
    await drain(hooks.app.database.dispatch, run, WEBHOOKS, shard_of(hooks.tenant.tenant_id), holder="test")
    assert [(row["event_type"], row["status"]) for row in await hooks.deliveries(endpoint)] == [
        ("order.cancelled", "succeeded"),
        ("order.filled", "pending"),
    ]


async def test_retry_after_is_honoured(hooks: Hooks, inbox: Receiver) -> None:
    endpoint = await hooks.endpoint(inbox.url, "order.*")
    inbox.answers = [(429, {"Retry-After": "3600"}, b"")]
    await hooks.emit("order.filled")
    await hooks.deliver()
    (row,) = await hooks.deliveries(endpoint)
    assert datetime.fromisoformat(row["next_at"]) - hooks.clock() > timedelta(minutes=59)


async def test_a_receiver_that_is_gone_is_disabled(hooks: Hooks, inbox: Receiver) -> None:
    endpoint = await hooks.endpoint(inbox.url, "order.*")
    inbox.answers = [(410, {}, b"")]
    await hooks.emit("order.filled")
    await hooks.deliver()
    shown = await hooks.call("GET", f"/{endpoint['id']}")
    assert (shown["status"], shown["status_reason"]) == ("disabled", "gone")
    assert "webhook_endpoint.disabled" in await hooks.events("webhook_endpoint")
    await hooks.emit("order.filled")
    await hooks.deliver()
    assert len(inbox.received) == 1
    await hooks.call("POST", f"/{endpoint['id']}/test", status=409)


async def test_days_of_failures_disable_and_enabling_begins_afresh(hooks: Hooks, inbox: Receiver) -> None:
    endpoint = await hooks.endpoint(inbox.url, "order.*")
    inbox.answers = [(500, {}, b"")]
    for day in range(7):
        hooks.clock.ahead = timedelta(days=day)
        await hooks.emit("order.filled")
        await hooks.deliver()
        shown = await hooks.call("GET", f"/{endpoint['id']}")
        assert shown["status"] == ("enabled" if day < 5 else "disabled"), day
    assert shown["status_reason"] == "failing"
    assert (await hooks.events("webhook_endpoint")).count("webhook_endpoint.disabled") == 1
    hooks.clock.ahead = timedelta()  # receivers refuse what is stamped days ahead
    inbox.answers, before = [(204, {}, b"")], len(inbox.received)
    assert (await hooks.call("PATCH", f"/{endpoint['id']}", {"status": "enabled"}))["failing_since"] is None
    await hooks.emit("order.cancelled")
    await hooks.deliver()
    assert [verified(endpoint["secret"], one)["type"] for one in inbox.received[before:]] == ["order.cancelled"]


async def test_one_success_ends_a_series_of_failures(hooks: Hooks, inbox: Receiver) -> None:
    endpoint = await hooks.endpoint(inbox.url, "order.*")
    inbox.answers = [(500, {}, b""), (200, {}, b"")]
    await hooks.emit("order.filled")
    await hooks.deliver()
    assert (await hooks.call("GET", f"/{endpoint['id']}"))["failing_since"] is not None
    await hooks.deliver()
    assert (await hooks.call("GET", f"/{endpoint['id']}"))["failing_since"] is None


async def test_a_receiver_that_is_away_and_one_inside_say_so(hooks: Hooks, inbox: Receiver) -> None:
    endpoint = await hooks.endpoint("http://127.0.0.1:1/", "order.*")
    await hooks.emit("order.filled")
    await hooks.deliver()
    (row,) = await hooks.deliveries(endpoint)
    assert (row["status"], row["response_status"], row["error"]) == ("pending", None, "no_connection")


async def test_at_most_two_kilobytes_of_an_answer_are_kept(hooks: Hooks, inbox: Receiver) -> None:
    endpoint = await hooks.endpoint(inbox.url, "order.*")
    inbox.answers = [(400, {}, b"\x00\xff" + b"x" * 100_000)]
    await hooks.emit("order.filled")
    await hooks.deliver()
    (row,) = await hooks.deliveries(endpoint)
    assert 1_000 < len(row["response_body"].encode()) <= 2_048 + 4


async def test_a_test_event_reaches_an_endpoint_whatever_it_hears_and_once(hooks: Hooks, inbox: Receiver) -> None:
    endpoint = await hooks.endpoint(inbox.url, "order.*")
    everything = await hooks.endpoint(inbox.url, "*")
    await hooks.call("POST", f"/{endpoint['id']}/test", status=202)
    await hooks.call("POST", f"/{everything['id']}/test", status=202)
    await hooks.stamp()
    for _ in range(2):
        await hooks.deliver()
    assert [row["event_type"] for row in await hooks.deliveries(endpoint)] == ["webhook_endpoint.tested"]
    told = [row["event_id"] for row in await hooks.deliveries(everything)]
    assert len(told) == len(set(told))


async def test_a_finished_delivery_is_sent_again_when_asked(hooks: Hooks, inbox: Receiver) -> None:
    endpoint = await hooks.endpoint(inbox.url, "order.*")
    await hooks.emit("order.filled")
    while await follow(hooks.app, hooks.tenant.tenant_id):
        pass
    (row,) = await hooks.deliveries(endpoint)
    again = f"{DELIVERIES}/{row['id']}/redeliver"
    refused = await hooks.call("POST", again, status=409)
    assert refused["code"] == "delivery_pending"
    await hooks.deliver()
    assert (await hooks.call("POST", again, status=202))["attempts"] == 0
    await hooks.deliver()
    assert len({one.headers["Webhook-Id"] for one in inbox.received}) == 1 and len(inbox.received) == 2
    assert [row["status"] for row in await hooks.deliveries(endpoint)] == ["succeeded"]
    await hooks.call("POST", f"{DELIVERIES}/{encode_id('whd', uuid7())}/redeliver", status=404)


async def test_a_worker_that_died_before_it_wrote_the_outcome_sends_again(hooks: Hooks, inbox: Receiver) -> None:
    endpoint = await hooks.endpoint(inbox.url, "order.*")
    await hooks.emit("order.filled")
    await hooks.deliver()
    tenant_id = hooks.tenant.tenant_id
    async with hooks.app.database.tx(tenant_id) as tx:  # as if the second transaction had never been
        await tx.execute(text("update webhook_deliveries set status = 'pending', finished_at = null"))
    await hooks.app.database.dispatch.execute("update work_items set state = 'ready' where tenant_id = $1", tenant_id)
    await hooks.deliver()
    (row,) = await hooks.deliveries(endpoint)
    assert (row["status"], row["attempts"], len(inbox.received)) == ("succeeded", 2, 2)


async def test_one_endpoint_gets_a_few_deliveries_at_once_and_all_of_them_in_the_end(hooks: Hooks) -> None:
    at_once = most = 0
    ours = f"https://hooks.example.com/{hooks.tenant.tenant_id}"

    class Slow:
        async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Any:
            nonlocal at_once, most
            assert url == ours  # else it is what another test of this database left in the shard: it dies, uncounted
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0.05)
            at_once -= 1
            return type("Answer", (), {"status": 200, "headers": {}, "body": b""})()

    endpoint = await hooks.endpoint(ours, "order.*")
    await hooks.emit(*["order.filled"] * 15)
    while await follow(hooks.app, hooks.tenant.tenant_id):
        pass
    run, shard = handlers(hooks.app, Slow()), shard_of(hooks.tenant.tenant_id)
    for _ in range(15):
        await drain(hooks.app.database.dispatch, run, WEBHOOKS, shard, holder="test")
        await hooks.app.database.dispatch.execute(
            "update work_items set available_at = clock_timestamp() where tenant_id = $1 and state = 'ready'",
            hooks.tenant.tenant_id,
        )
    assert most == AT_ONCE
    rows = await hooks.deliveries(endpoint)
    assert [(row["status"], row["attempts"]) for row in rows] == [("succeeded", 1)] * 15


async def test_the_daemons_role_follows_every_tenant(hooks: Hooks, app: App, client: httpx.AsyncClient) -> None:
    other = Hooks(app, client, await make_tenant(app.database))
    endpoints = [await one.endpoint("https://hooks.example.com/", "order.*") for one in (hooks, other)]
    stop = asyncio.Event()
    role = asyncio.create_task(run_webhooks(app, stop=stop))
    for one in (hooks, other):
        await one.emit("order.filled")
    async with asyncio.timeout(30):
        for one, endpoint in zip((hooks, other), endpoints, strict=True):
            while len(await one.deliveries(endpoint)) < 1:
                await asyncio.sleep(0.05)
    stop.set()
    await role
    assert [len(await one.deliveries(e)) for one, e in zip((hooks, other), endpoints, strict=True)] == [1, 1]


async def test_an_endpoint_is_changed_listed_and_deleted(hooks: Hooks, inbox: Receiver) -> None:
    endpoint = await hooks.endpoint(inbox.url, "order.*", "account.opened", "order.*")
    changed = await hooks.call(
        "PATCH", f"/{endpoint['id']}", {"event_types": ["position.*"], "url": "https://a.example.com/x"}
    )
    assert (changed["event_types"], changed["url"]) == (["position.*"], "https://a.example.com/x")
    (listed,) = (await hooks.call("GET"))["data"]
    assert listed == changed == await hooks.call("GET", f"/{endpoint['id']}")
    assert "secret" not in listed
    await hooks.call("POST", f"/{endpoint['id']}/test", status=202)
    await hooks.call("DELETE", f"/{endpoint['id']}", status=204)
    await hooks.call("GET", f"/{endpoint['id']}", status=404)
    await hooks.deliver()
    assert inbox.received == []


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"url": "http://example.com/"}, "invalid_url", "url"),
        ({"url": "https://10.0.0.1/"}, "invalid_url", "url"),
        ({"url": "https://localhost/"}, "invalid_url", "url"),
        ({"event_types": ["Order"]}, "unknown_event_type", "event_types"),
        ({"event_types": []}, "invalid_request", "event_types"),
        ({"secret": "whsec_x"}, "invalid_request", "secret"),
    ],
)
async def test_a_wrong_endpoint_is_refused_and_nothing_is_written(
    hooks: Hooks, body: dict[str, Any], code: str, param: str
) -> None:
    asked = {"url": "https://hooks.example.com/", "event_types": ["order.*"]} | body
    problem = await hooks.call("POST", "", asked, status=422)
    assert (problem["code"], problem["param"]) == (code, param)
    assert (await hooks.call("GET"))["data"] == []


async def test_a_tenant_has_at_most_twenty_endpoints(hooks: Hooks) -> None:
    for _ in range(20):
        await hooks.endpoint("https://hooks.example.com/", "order.*")
    problem = await hooks.call("POST", "", {"url": "https://a.example.com/", "event_types": ["*"]}, status=409)
    assert problem["code"] == "too_many_endpoints"


async def test_secrets_lie_sealed_in_the_database(hooks: Hooks, app: App) -> None:
    endpoint = await hooks.endpoint("https://hooks.example.com/", "order.*")
    await hooks.call("POST", f"/{endpoint['id']}/rotate_secret")
    async with app.database.tx(hooks.tenant.tenant_id) as tx:
        row = (await tx.execute(text("select id, secret, former_secret from webhook_endpoints"))).one()
    secret = endpoint["secret"].encode()
    assert secret not in row.secret + row.former_secret
    place = (hooks.tenant.tenant_id, "webhook_endpoints", "former_secret", decode_id("whe", endpoint["id"]))
    assert await app.sealer.unseal(*place, row.former_secret) == secret
    assert encode_id("whe", row.id) == endpoint["id"]
