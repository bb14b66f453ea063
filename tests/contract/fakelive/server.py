"""Serves a `FakeVenue` on loopback: HTTP by hand, so that a connection can end in the middle, and a WebSocket."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.contract.fakelive.venue import FakeVenue

HEARTBEAT_SECONDS = 0.05


@dataclass
class FakeServer:
    """The servers and their knobs. `mute`: the socket stays open and says nothing, heartbeats included."""

    venue: FakeVenue
    http: str = ""
    websocket: str = ""
    mute: bool = False
    sockets: dict[ServerConnection, str] = field(default_factory=dict)
    sent: list[tuple[str, str]] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def push(self, account: str, message: dict[str, Any]) -> None:
        """Send to whoever listens to the account."""
        text = json.dumps(message)
        self.sent.append((account, text))
        for socket, whose in self.sockets.items():
            if whose == account and not self.mute:
                self._start(socket.send(text))

    def repeat(self) -> None:
        """Send everything again, the newest first."""
        for account, text in reversed(self.sent):
            for socket, whose in self.sockets.items():
                if whose == account:
                    self._start(socket.send(text))

    async def cut(self) -> None:
        """End every socket without a word."""
        for socket in list(self.sockets):
            socket.transport.abort()

    def _start(self, work: Any) -> None:
        task = asyncio.ensure_future(_quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            line, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
            body = (await reader.readexactly(int(headers.get("content-length", "0")))).decode()
            method, path, _ = line.split(" ")
            token = headers.get("authorization", "").rpartition(":")[2]
            reply = self.venue.handle(method, path, token, body)
            if reply.drop:
                writer.transport.abort()
                return
            if reply.late:
                await reader.read()  # until the caller has left
                return
            content = reply.body.encode()
            writer.write(
                f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}\r\nContent-Type: {reply.content_type}\r\n"
                f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode()
                + content
            )
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def listen(self, socket: ServerConnection) -> None:
        """Until the caller leaves: heartbeats of one byte, and what is pushed."""
        assert socket.request is not None
        self.sockets[socket] = self.venue.tokens[_token(socket.request)]
        gone = asyncio.ensure_future(socket.wait_closed())
        try:
            while not gone.done():
                if not self.mute:
                    await socket.send(b"\x00")
                await asyncio.wait({gone}, timeout=HEARTBEAT_SECONDS)
        except ConnectionClosed:
            pass
        finally:
            gone.cancel()
            del self.sockets[socket]

    def admit(self, socket: ServerConnection, request: Request) -> Response | None:
        if _token(request) in self.venue.tokens:
            return None
        return socket.respond(HTTPStatus.FORBIDDEN, "Incorrect api_key or access_token")


def _token(request: Request) -> str:
    return parse_qs(urlsplit(request.path).query).get("access_token", [""])[0]


async def _quietly(work: Any) -> None:
    await asyncio.gather(work, return_exceptions=True)


@asynccontextmanager
async def serving(venue: FakeVenue) -> AsyncIterator[FakeServer]:
    """The venue on two free ports of the loopback interface."""
    fake = FakeServer(venue)
    http = await asyncio.start_server(fake.answer, "127.0.0.1", 0)
    async with http, serve(fake.listen, "127.0.0.1", 0, process_request=fake.admit) as websocket:
        fake.http = f"http://127.0.0.1:{http.sockets[0].getsockname()[1]}"
        fake.websocket = f"ws://127.0.0.1:{next(iter(websocket.sockets)).getsockname()[1]}"
        venue.listeners.append(fake.push)
        try:
            yield fake
        finally:
            venue.listeners.remove(fake.push)
