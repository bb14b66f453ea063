"""Decides how a tenant's URL is called: the name is resolved once, every address checked, a checked one connected to.

So a name that changes between check and connection gains nothing. TLS and certificate still use the name. No proxy of
the environment, no redirect, no second connection, a bound on time and on what is read.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

import httpcore

from app.infra.outbound.addresses import may_call
from app.infra.outbound.urls import check_url

TIMEOUT_SECONDS = 15.0
MAX_BODY = 2048
Resolve = Callable[[str, int], Awaitable[list[str]]]


class CallFailed(Exception):
    """No answer. The message is a short word of ours (`timeout`, `refused_address`): it says nothing of our network."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers (names in lower case) and the first `MAX_BODY` bytes of the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class OutboundClient:
    """Posts to tenants' URLs. `loopback` is for the local stack and for tests, never for production."""

    def __init__(
        self,
        *,
        loopback: bool = False,
        resolve: Resolve | None = None,
        backend: httpcore.AsyncNetworkBackend | None = None,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        self._loopback = loopback
        self._backend = _CheckedBackend(
            backend or httpcore.AnyIOBackend(), resolve or resolved_addresses, loopback=loopback
        )
        self._tls = ssl.create_default_context()
        self._timeout = timeout

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """One POST. Raises `CallFailed`; `invalid_url` for a URL that may not be called."""
        check_url(url, loopback=self._loopback)
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(url, headers, body)
        except TimeoutError:
            raise CallFailed("timeout") from None
        except ssl.SSLError:
            raise CallFailed("tls_error") from None
        except (httpcore.ConnectError, OSError):
            raise CallFailed("no_connection") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException):
            raise CallFailed("connection_broken") from None

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        async with (
            httpcore.AsyncConnectionPool(
                ssl_context=self._tls, max_keepalive_connections=0, network_backend=self._backend
            ) as pool,
            pool.stream("POST", url, headers=list(headers.items()), content=body) as response,
        ):
            read = b""
            async for chunk in response.aiter_stream():
                read += chunk
                if len(read) >= MAX_BODY:
                    break
            found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
            return Answer(response.status, found, read[:MAX_BODY])


class _CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects to addresses that were checked, whatever the name says next time."""

    def __init__(self, inner: httpcore.AsyncNetworkBackend, resolve: Resolve, *, loopback: bool) -> None:
        self._inner = inner
        self._resolve = resolve
        self._loopback = loopback

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self._resolve(host, port)
        if not addresses:
            raise CallFailed("unknown_host")
        if not all(may_call(address, loopback=self._loopback) for address in addresses):
            raise CallFailed("refused_address")  # one inside is enough: the name is not what it seems
        return await self._inner.connect_tcp(addresses[0], port, timeout, local_address, socket_options)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise CallFailed("refused_address")

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


async def resolved_addresses(host: str, port: int) -> list[str]:
    """Every address of `host`, in the order of the system's resolver. Raises `CallFailed`."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise CallFailed("unknown_host") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
