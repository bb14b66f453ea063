"""Decides when an event gets its place: once no older transaction can still add one before it. Then says so to those
who listen."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

import asyncpg
from redis.asyncio import Redis

from app.infra.redis import REDIS_ERRORS

BATCH = 1_000
IDLE_SECONDS = 0.05
CHANNEL = "events"


async def run_follower(dispatch: asyncpg.Pool, redis: Redis, *, stop: asyncio.Event) -> None:
    """Until `stop`: stamp dense per-tenant positions. One process at a time (the caller holds the lock)."""
    while not stop.is_set():
        tenants: Sequence[UUID] = await dispatch.fetchval("select events_position($1)", BATCH)
        if not tenants:
            await asyncio.sleep(IDLE_SECONDS)
            continue
        with suppress(*REDIS_ERRORS):  # who listens looks by himself, too: nothing is lost but latency
            await redis.publish(CHANNEL, " ".join(map(str, tenants)))
