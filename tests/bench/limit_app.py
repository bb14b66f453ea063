"""The bare limits: of an order route (the same server, an API key, one validated body, one INSERT committed), of a
route that does nothing, of a broadcast."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import asyncpg
from fastapi import FastAPI, Header, HTTPException, Request
from fastapi.responses import StreamingResponse

from app.trading.orders.schemas import CreateOrder

KEY = "Bearer limit"


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["LIMIT_DATABASE_URL"], min_size=4, max_size=10) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=_lifespan)


@app.get("/readyz")
async def ready() -> dict[str, bool]:
    return {"ok": True}


@app.post("/v1/orders", status_code=201)
async def place(body: CreateOrder, authorization: Annotated[str, Header()]) -> dict[str, int]:
    """One row, committed."""
    if authorization != KEY:
        raise HTTPException(401)
    row = await app.state.pool.fetchval(
        "insert into limit_orders (body) values ($1::jsonb) returning id", json.dumps(body.model_dump())
    )
    return {"id": row}


_listeners: set[asyncio.Queue[bytes]] = set()


@app.get("/noop")
async def noop() -> dict[str, bool]:
    """Nothing, for nobody in particular."""
    return {"ok": True}


@app.get("/stream")
async def stream() -> StreamingResponse:
    """What is told from now on."""
    queue: asyncio.Queue[bytes] = asyncio.Queue()

    async def frames() -> AsyncIterator[bytes]:
        _listeners.add(queue)
        yield b"retry: 2000\n\n"
        while True:
            yield await queue.get()

    return StreamingResponse(frames(), media_type="text/event-stream")


@app.post("/tell")
async def tell(request: Request) -> dict[str, int]:
    """The body, to everybody who listens."""
    frame = b"data: " + await request.body() + b"\n\n"
    for queue in _listeners:
        queue.put_nowait(frame)
    return {"told": len(_listeners)}
