"""The gateway behind a real server on loopback, in the test's own loop: for streams, which in-process transports cannot
carry."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from app.kernel.ids import uuid7

STREAMS = frozenset({"/v1/events/stream"})
"""Routes whose answers do not end."""
EXITS = frozenset(
    {
        "POST /v1/orders",
        "POST /v1/orders/bulk",
        "POST /v1/orders/bulk_cancel",
        "PATCH /v1/orders/{id}",
        "POST /v1/orders/{id}/cancel",
        "POST /v1/orders/cancel_all",
        "POST /v1/positions/exit_all",
        "POST /v1/halts",
        "POST /v1/deployments/{id}/pause",
        "POST /v1/deployments/{id}/stop",
        "POST /v1/backtests/{id}/cancel",
        "POST /v1/sweeps/{id}/cancel",
        "DELETE /v1/api_keys/{id}",
        "DELETE /v1/act_as_grants/{id}",
        "DELETE /v1/invitations/{id}",
        "DELETE /v1/members/{id}",
        "POST /v1/members/{id}/suspend",
        "POST /v1/approvals/{id}/reject",
    }
)
"""What a suspended tenant may still write, each reviewed: it takes risk or power away, or decides so by itself."""


class From:
    """The app as callers of one address reach it."""

    def __init__(self, app: ASGIApp, address: str) -> None:
        self._app = app
        self._client = (address, 4711)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app({**scope, "client": self._client}, receive, send)


def fresh_address() -> str:
    """An IPv4 address that no other test of this Valkey calls from."""
    return ".".join(["10", *(str(byte) for byte in uuid7().bytes[-3:])])


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None: they are the test's."""
        yield


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[str]:
    """`app` with its lifespan on a free port: its base URL."""
    server = _Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, timeout_graceful_shutdown=5))
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(30):
        while not server.started:
            await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
