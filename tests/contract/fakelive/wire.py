"""Carries requests to a `FakeVenue` without a socket: what fails there fails here as httpx would say it."""

import asyncio
from collections.abc import Callable
from random import Random

import httpx

from tests.contract.fakelive.venue import FakeVenue


class Crash(BaseException):
    """The process that was calling is dead: no code of its runs any more."""


class Wire(httpx.AsyncBaseTransport):
    """`crashes(method)` says whether the caller dies of this call: before the broker has it, or after."""

    def __init__(self, venue: FakeVenue, *, crashes: Callable[[str], bool], random: Random) -> None:
        self._venue = venue
        self._crashes = crashes
        self._random = random

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0)  # others may come first
        dies, before = self._crashes(request.method), self._random.random() < 0.5
        if dies and before:
            raise Crash
        token = request.headers["authorization"].rpartition(":")[2]
        reply = self._venue.handle(request.method, request.url.path, token, request.content.decode())
        await asyncio.sleep(0)
        if dies:
            raise Crash
        if reply.late:
            raise httpx.ReadTimeout("late", request=request)
        if reply.drop:
            raise httpx.ReadError("dropped", request=request)
        return httpx.Response(reply.status, headers={"content-type": reply.content_type}, text=reply.body)
