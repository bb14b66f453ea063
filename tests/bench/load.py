"""A small HTTP/1.1 client over raw sockets: a library's cost would be measured with the server's, on the same cores."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    seconds: float


def _head(authorization: str) -> str:
    return f"Host: bench\r\nAuthorization: {authorization}\r\nContent-Type: application/json\r\n"


class Connection:
    """One keep-alive connection that posts JSON."""

    def __init__(self, url: str, authorization: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._turn = asyncio.Lock()
        self._head = _head(authorization)

    async def open(self) -> "Connection":
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        return self

    async def post(self, path: str, body: dict[str, Any], *, authorization: str | None = None) -> Answer:
        """`authorization`: of this request, in the place of the connection's."""
        async with self._turn:
            return await self._post(
                path, json.dumps(body).encode(), _head(authorization) if authorization else self._head
            )

    async def post_form(self, path: str, form: str) -> Answer:
        """`form` is urlencoded."""
        head = self._head.replace("application/json", "application/x-www-form-urlencoded")
        async with self._turn:
            return await self._ask(f"POST {path} HTTP/1.1\r\n{head}Content-Length: {len(form)}\r\n\r\n{form}".encode())

    async def get(self, path: str) -> Answer:
        async with self._turn:
            return await self._ask(f"GET {path} HTTP/1.1\r\n{self._head}\r\n".encode())

    async def _post(self, path: str, data: bytes, head: str) -> Answer:
        return await self._ask(f"POST {path} HTTP/1.1\r\n{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)

    async def _ask(self, request: bytes) -> Answer:
        began = time.perf_counter()
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        )
        answered = await self._reader.readexactly(length)
        return Answer(int(head[9:12]), answered, time.perf_counter() - began)

    def close(self) -> None:
        self._writer.close()


async def closed_loop(
    url: str,
    authorization: str,
    ask: Callable[[Connection], Awaitable[Answer]],
    *,
    status: int,
    connections: int,
    seconds: float,
) -> float:
    """Answers per second with `connections` callers that each wait for theirs. Raises unless each has this status."""
    ending = time.perf_counter() + seconds

    async def caller() -> int:
        connection = await Connection(url, authorization).open()
        done = 0
        while time.perf_counter() < ending:
            answer = await ask(connection)
            if answer.status != status:
                raise RuntimeError(f"{answer.status}: {answer.body[:300]!r}")
            done += 1
        connection.close()
        return done

    began = time.perf_counter()
    counts = await asyncio.gather(*(caller() for _ in range(connections)))
    return sum(counts) / (time.perf_counter() - began)
