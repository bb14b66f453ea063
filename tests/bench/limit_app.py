"""The bare limit of an order route: the same server, an API key, one validated body, one INSERT committed."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import asyncpg
from fastapi import FastAPI, Header, HTTPException

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
