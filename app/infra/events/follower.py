"""Decides when an event gets its place: once no older transaction can still add one before it."""

import asyncio

import asyncpg

BATCH = 1_000
IDLE_SECONDS = 0.05


async def run_follower(dispatch: asyncpg.Pool, *, stop: asyncio.Event) -> None:
    """Until `stop`: stamp dense per-tenant positions. One process at a time (the caller holds the lock)."""
    while not stop.is_set():
        if await dispatch.fetchval("select events_stamp($1)", BATCH) == 0:
            await asyncio.sleep(IDLE_SECONDS)
