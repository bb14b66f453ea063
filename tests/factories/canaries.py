"""Canaries: secrets that a run is given, and the search for them in whatever it left behind, in any encoding."""

import secrets
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


def new_canary(name: str) -> str:
    """A secret that occurs nowhere by chance, and in URLs as it is."""
    return f"canary-{name}-{secrets.token_hex(12)}"


def forms(canary: bytes) -> Iterator[bytes]:
    """`canary` in clear, hexadecimal, and base64 at each of the three offsets at which it may lie in a longer text."""
    yield canary
    yield canary.hex().encode()
    yield canary.hex().upper().encode()
    for offset in range(3):
        for encode in (b64encode, urlsafe_b64encode):
            encoded = encode(bytes(offset) + canary)
            first = -(-offset * 8 // 6)  # characters that also hold bits of what lies before
            last = (offset + len(canary)) * 8 // 6  # whole characters of ours
            yield encoded[first:last]


def sightings(canaries: Mapping[str, bytes], places: Mapping[str, bytes]) -> list[str]:
    """Which canary was seen in which place."""
    return [
        f"{name} in {place}"
        for name, canary in canaries.items()
        for place, content in places.items()
        if any(form in content for form in set(forms(canary)))
    ]


@contextmanager
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """An OpenTelemetry collector on loopback: its URL, and the bodies that it was sent."""
    received: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
