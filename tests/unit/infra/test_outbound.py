"""A tenant's URL cannot reach our own network: not by its form, nor by what its name says when it is connected to."""

import asyncio
import socket
from collections.abc import Iterable

import httpcore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.infra.outbound.addresses import may_call
from app.infra.outbound.client import MAX_BODY, CallFailed, OutboundClient
from app.infra.outbound.urls import check_url
from app.kernel.errors import DomainError

PUBLIC = "93.184.215.14"
INSIDE = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.8.8.8", "169.254.169.254",
    "172.16.0.1", "192.0.0.192", "192.168.1.1", "198.18.0.1", "224.0.0.1", "255.255.255.255", "168.63.129.16",
    "::", "::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1",
    "2002:7f00:1::", "2001:0:7f00:1::", "2001:db8::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%lo",
    "fec0::1", "ff02::1", "2606:4700::1111%1",
]  # fmt: skip
HOSTILE = [
    "https://127.0.0.1/", "https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/", "https://127.1/",
    "https://0x7f.1/", "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://[::]/", "https://0/",
    "https://[fe80::1%25lo]/", "https://[64:ff9b::7f00:1]/", "https://169.254.169.254/latest/meta-data/",
    "https://192.0.0.192/", "https://localhost/", "https://LOCALHOST./", "https://a.localhost/",
    "https://metadata.google.internal/", "https://db.local/", "https://example.com.0x7f/",
    "https://\uff11\uff12\uff17.0.0.1/", "https://\u2460\u2461\u2466.0.0.1/", "https://user@127.0.0.1/",
    "https://example.com@127.0.0.1/", "https://example.com:x@10.0.0.1/", "https://example.com\\@127.0.0.1/",
    "https://example.com\t.evil/", "https://exa\nmple.com/", "https://example.com:80/", "https://example.com:22/",
    "https://example.com:99999/", "http://example.com/", "ftp://example.com/", "file:///etc/passwd",
    "gopher://example.com/", "//example.com/", "example.com", "", "https://", "https:///path", "https://[::1/",
    "https://example.com/#fragment", "https://singleword/", "https://-a.example.com/", "https://" + "a" * 3000,
]  # fmt: skip


class Stream(httpcore.AsyncNetworkStream):
    """Answers one request with `reply`, and remembers whom TLS was begun with."""

    def __init__(self, backend: "Recording") -> None:
        self._backend = backend
        self._left = backend.reply

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._backend.silent:
            await asyncio.sleep(60)
        part, self._left = self._left[:max_bytes], self._left[max_bytes:]
        self._backend.read += len(part)
        return part

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._backend.sent += buffer

    async def aclose(self) -> None:
        self._backend.closed += 1

    async def start_tls(
        self, ssl_context: object, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        self._backend.tls.append(server_hostname)
        return self


class Recording(httpcore.AsyncNetworkBackend):
    """Connects to nothing and writes down where it was asked to."""

    def __init__(self, reply: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", *, silent: bool = False):
        self.reply, self.silent = reply, silent
        self.connected: list[tuple[str, int]] = []
        self.tls: list[str | None] = []
        self.sent = b""
        self.read = self.closed = 0

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.connected.append((host, port))
        return Stream(self)


class Names:
    """A resolver that says something else each time; numbers are read as the system's resolver reads them."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
            return [str(entry[4][0]) for entry in found]
        except socket.gaierror:
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_inside_may_not_be_called(address: str) -> None:
    assert not may_call(address)


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "2606:4700::1111", "2a00:1450:4001::1"])
def test_a_public_address_may_be_called(address: str) -> None:
    assert may_call(address)


@given(st.ip_addresses())
def test_nothing_that_python_calls_private_may_be_called(address: object) -> None:
    from ipaddress import ip_address

    read = ip_address(str(address))
    if read.is_private or read.is_loopback or read.is_link_local or read.is_multicast or read.is_reserved:
        assert not may_call(str(address))


def test_loopback_is_for_the_local_stack() -> None:
    assert may_call("127.0.0.1", loopback=True) and may_call("::1", loopback=True)
    assert not may_call("127.0.0.2", loopback=True) and not may_call("10.0.0.1", loopback=True)


@pytest.mark.parametrize("url", HOSTILE)
async def test_a_hostile_url_is_refused_and_nothing_is_connected_to(url: str) -> None:
    backend = Recording()
    with pytest.raises(DomainError) as caught:
        await OutboundClient(resolve=Names([PUBLIC]), backend=backend).post(url, {}, b"")
    assert caught.value.code == "invalid_url" and caught.value.param == "url"
    assert backend.connected == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/x", "https://[::1]:9/"])
def test_the_local_stack_may_name_loopback(url: str) -> None:
    assert check_url(url, loopback=True) == url
    with pytest.raises(DomainError):
        check_url(url)
    with pytest.raises(DomainError):
        check_url("http://10.0.0.1/", loopback=True)


async def test_the_checked_address_is_connected_to_and_the_name_is_what_tls_sees() -> None:
    backend, names = Recording(), Names([PUBLIC])
    answer = await OutboundClient(resolve=names, backend=backend).post(
        "https://hooks.example.com/a?b=c", {"Webhook-Id": "1"}, b"{}"
    )
    assert (answer.status, answer.body) == (200, b"ok")
    assert backend.connected == [(PUBLIC, 443)] and backend.tls == ["hooks.example.com"]
    assert backend.sent.startswith(b"POST /a?b=c HTTP/1.1\r\nHost: hooks.example.com\r\n")
    assert b"Webhook-Id: 1" in backend.sent and backend.sent.endswith(b"{}")
    assert names.asked == 1 and backend.closed >= 1


async def test_a_name_that_changes_after_the_check_gains_nothing() -> None:
    backend, names = Recording(), Names([PUBLIC], ["127.0.0.1"])
    client = OutboundClient(resolve=names, backend=backend)
    await client.post("https://rebind.example.com/", {}, b"")
    assert backend.connected == [(PUBLIC, 443)]
    with pytest.raises(CallFailed, match="refused_address"):
        await client.post("https://rebind.example.com/", {}, b"")
    assert backend.connected == [(PUBLIC, 443)]


@pytest.mark.parametrize("addresses", [[PUBLIC, "10.0.0.1"], ["::1", PUBLIC], ["169.254.169.254"]])
async def test_one_address_inside_is_enough_to_refuse(addresses: list[str]) -> None:
    backend = Recording()
    with pytest.raises(CallFailed, match="refused_address"):
        await OutboundClient(resolve=Names(addresses), backend=backend).post("https://x.example.com/", {}, b"")
    assert backend.connected == []


async def test_a_name_without_an_address_is_unknown() -> None:
    with pytest.raises(CallFailed, match="unknown_host"):
        await OutboundClient(resolve=Names([]), backend=Recording()).post("https://x.example.com/", {}, b"")


async def test_a_redirect_is_an_answer_and_not_followed() -> None:
    backend = Recording(b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1/\r\nContent-Length: 0\r\n\r\n")
    answer = await OutboundClient(resolve=Names([PUBLIC]), backend=backend).post("https://x.example.com/", {}, b"")
    assert answer.status == 302 and backend.connected == [(PUBLIC, 443)]


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:3128")
    backend = Recording()
    await OutboundClient(resolve=Names([PUBLIC]), backend=backend).post("https://x.example.com/", {}, b"")
    assert backend.connected == [(PUBLIC, 443)]


async def test_an_endless_answer_is_cut_off() -> None:
    backend = Recording(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 10_000_000)
    answer = await OutboundClient(resolve=Names([PUBLIC]), backend=backend).post("https://x.example.com/", {}, b"")
    assert answer.body == b"x" * MAX_BODY
    assert backend.read < 500_000 and backend.closed >= 1


async def test_a_silent_receiver_is_left_after_the_timeout() -> None:
    client = OutboundClient(resolve=Names([PUBLIC]), backend=Recording(silent=True), timeout=0.05)
    with pytest.raises(CallFailed, match="timeout"):
        await client.post("https://x.example.com/", {}, b"")


@pytest.mark.parametrize("reply", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\n" + b"a" * 200_000])
async def test_an_answer_that_is_not_http_is_a_broken_connection(reply: bytes) -> None:
    client = OutboundClient(resolve=Names([PUBLIC]), backend=Recording(reply))
    with pytest.raises(CallFailed, match="connection_broken"):
        await client.post("https://x.example.com/", {}, b"")
