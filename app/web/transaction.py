"""Decides when a request's transaction ends: before the first byte of its answer, so that no 201 can be a lie."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, Query, Request

from app.infra.database import Tx
from app.kernel.principal import Principal
from app.web.auth import authenticated, requires
from app.web.context import gateway_of


async def open_tx(request: Request) -> AsyncIterator[Tx]:
    """The caller's transaction: committed when the handler returns, rolled back when it raises.

    Always with `scope="function"` (`OpenTx`): FastAPI's default scope would end it after the answer was sent. Streams
    do not use it: they open `gateway_of(request).database.tx(…)` for each read.
    """
    principal = await authenticated(request)
    async with gateway_of(request).database.tx(principal.tenant_id, principal) as tx:
        yield tx


DryRun = Annotated[
    bool,
    Query(description="Check and price everything, answer what would happen, and write nothing."),
]


@asynccontextmanager
async def rehearsed(tx: Tx) -> AsyncIterator[None]:
    """Whatever is done in the block is taken back at its end: the same checks as the real thing, and no trace."""
    effect = await tx.session.begin_nested()
    try:
        yield
        await tx.flush()
    finally:
        if effect.is_active:
            await effect.rollback()
        tx.forget()


OpenTx = Annotated[Tx, Depends(open_tx, scope="function")]


def tx_requiring(*permissions: str) -> Callable[..., AsyncIterator[Tx]]:
    """`open_tx` for callers with `permissions`: for routers that are handed their transaction's dependency."""
    required = requires(*permissions)

    async def open_required(request: Request, principal: Annotated[Principal, Depends(required)]) -> AsyncIterator[Tx]:
        async with gateway_of(request).database.tx(principal.tenant_id, principal) as tx:
            yield tx

    return open_required
