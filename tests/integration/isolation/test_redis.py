"""What Redis holds names its tenant or concerns all, shows nothing of anyone's rows, and moves no line when forged."""

import asyncio
import base64
import json
import re
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from uuid import UUID

import pytest
import pytest_asyncio
from pydantic import SecretStr
from redis.asyncio import Redis

from app.infra.events.hub import EventHub, Told
from app.infra.events.tables import EventRow
from app.infra.redis import open_redis
from app.infra.settings import Settings
from app.kernel.ids import encode_id, uuid7
from app.local.valkey import temporary_valkey
from app.platform.tenancy.domain import Role
from tests.factories.oauth import basic, bearer, client_token, make_client
from tests.integration.isolation.scene import Scene, open_scene
from tests.integration.isolation.shots import operations

pytestmark = pytest.mark.asyncio(loop_scope="module")
OF_ALL = {
    r"key work:sent:[a-z]+:\d+": "a wake-up of a shard, which many tenants share",
    r"key mandi:oauth:ended:jti:[\w-]{20,}": "a random token id, which only its holder knows",
    r"key rate:anonymous:[0-9a-f.:/]+": "an address without a credential, before anybody is known",
    r"key rate:probe": "whether Redis counts again",
    r"message work [a-z]+:\d+": "the same, announced",
    r"message events [0-9a-f-]{36}( [0-9a-f-]{36})*": "whose events have new places, and nothing else",
}
"""What names no tenant, or several, each reviewed."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A scene whose Redis is real, and everything that was said there."""

    scene: Scene
    redis: Redis
    messages: list[str]

    async def everything(self) -> list[str]:
        """Every key with what it holds, and every message."""
        keys = [key async for key in self.redis.scan_iter()]
        return [*[f"key {key}" for key in keys], *self.messages]


@pytest.fixture(scope="module")
def settings(scratch_settings: Settings) -> Iterator[Settings]:
    with temporary_valkey() as server:
        yield scratch_settings.model_copy(
            update={
                "redis_url": SecretStr(server.url),
                "issuer": "https://issuer.example",
                "sealing_key": SecretStr(base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()),
            }
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def watched(settings: Settings) -> AsyncIterator[Watched]:
    redis = open_redis(settings.redis_url.get_secret_value())
    messages: list[str] = []
    async with redis.pubsub(ignore_subscribe_messages=True) as pubsub, open_scene(settings) as scene:
        await pubsub.psubscribe("*")

        async def listen() -> None:
            async for message in pubsub.listen():
                messages.append(f"message {message['channel']} {message['data']}")

        listening = asyncio.create_task(listen())
        yield Watched(scene, redis, messages)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    await redis.aclose()


async def test_what_redis_is_told_names_its_tenant_or_concerns_all(watched: Watched) -> None:
    scene, own_id = watched.scene, watched.scene.pair.attacker.own_id
    gun = await scene.gun(Role.OWNER.value)
    for operation in operations(scene.app):
        if operation.needs and operation.method != "DELETE" and not operation.streams:
            await gun.learn(operation)
            await gun.fire(operation)
    client = await make_client(scene.app.state.app.database, own_id)
    token = await client_token(scene.client, client)
    assert (await scene.client.get("/v1/tenant", headers=bearer(token))).status_code == 200
    await scene.client.post("/oauth2/revoke", data={"token": token}, headers=basic(client))
    assert (await scene.client.get("/v1/tenant", headers=bearer(token))).status_code == 401
    told = await watched.everything()
    assert told
    assert _nameless(told, own_id) == [], "name the tenant, or add the form to OF_ALL"
    assert client.secret is not None
    assert not [one for one in {*scene.markers, token, client.secret} if one in " ".join(told)]
    assert _nameless(["key limits:orders", f"key limits:{own_id}:orders"], own_id) == ["key limits:orders"]


def _nameless(told: list[str], own_id: UUID) -> list[str]:
    """What neither names the tenant nor is known to concern all."""
    names = (str(own_id), encode_id("ten", own_id))
    return [
        text
        for text in told
        if not any(re.fullmatch(form, text) for form in OF_ALL) and not any(name in text for name in names)
    ]


async def test_a_forged_announcement_shows_nobody_elses_events(watched: Watched) -> None:
    """Who could write to Redis could at most wake listeners: what they are told is read under their own tenant."""
    database, victim = watched.scene.app.state.app.database, watched.scene.pair.victim.own_id
    listener = uuid7()
    hub = EventHub(database, watched.redis, render=_body)
    stop = asyncio.Event()
    running = asyncio.create_task(hub.run(stop))
    try:
        async with asyncio.timeout(20), aclosing(hub.follow(listener, since=0, idle=0.3)) as followed:
            assert list(await anext(followed)) == []
            for forged in (f"{victim}", f"{victim} {listener}", "nonsense", "", f"{listener};{victim}"):
                await watched.redis.publish("events", forged)
                assert list(await anext(followed)) == []
            await _emit_stamped(watched.scene, listener)
            await watched.redis.publish("events", f"{victim} {listener}")
            seen = [json.loads(one.body) for one in await _next(followed)]
        assert seen == [{"of": str(listener)}]
        assert not running.done()
    finally:
        stop.set()
        await running


async def _next(followed: AsyncIterator[Sequence[Told]]) -> Sequence[Told]:
    async for batch in followed:
        if batch:
            return batch
    raise AssertionError("the stream ended")


def _body(row: EventRow) -> bytes:
    return json.dumps(row.data).encode()


async def _emit_stamped(scene: Scene, tenant_id: UUID) -> None:
    """One event of the tenant's, with its place."""
    database = scene.app.state.app.database
    async with database.tx(tenant_id) as tx:
        tx.emit("test.happened", uuid7(), {"of": str(tenant_id)})
    async with asyncio.timeout(10):
        while tenant_id not in (await database.dispatch.fetchval("select events_position(1000)") or ()):
            await asyncio.sleep(0.01)
