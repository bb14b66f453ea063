"""A key management service on loopback, for the adapter's tests: the actions Encrypt and Decrypt of AWS KMS.

It checks Signature Version 4 by its own reading of the specification, requires the key and the encryption context
that a ciphertext was made with, and answers errors in the service's form. It is a fake: the real service was never
asked.
"""

import hashlib
import hmac
import json
import os
import threading
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN = "AKIDTEST", "s3cr3t-of-the-test", "t0ken-of-the-test"
REGION = "ap-south-1"
ARNS = [f"arn:aws:kms:{REGION}:111122223333:key/{number:08d}-0000-0000-0000-000000000000" for number in range(2)]


class Refusal(Exception):
    """Status and `__type` of an error."""

    def __init__(self, status: int, name: str) -> None:
        super().__init__(name)
        self.status, self.name = status, name


@dataclass
class FakeKms:
    """`failing` are answers to give first, one a request; `requests` what came in: action and body."""

    url: str = ""
    keys: dict[str, bytes] = field(default_factory=lambda: {arn: os.urandom(32) for arn in ARNS})
    failing: list[tuple[int, bytes]] = field(default_factory=list)
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def answer(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        if self.failing:
            return self.failing.pop(0)
        try:
            check_signature(headers, body)
            if headers.get("content-type") != "application/x-amz-json-1.1":
                raise Refusal(400, "UnknownOperationException")
            action, asked = headers.get("x-amz-target", ""), json.loads(body)
            self.requests.append((action, asked))
            if action == "TrentService.Encrypt":
                return 200, json.dumps(self._encrypt(asked)).encode()
            if action == "TrentService.Decrypt":
                return 200, json.dumps(self._decrypt(asked)).encode()
            raise Refusal(400, "UnknownOperationException")
        except Refusal as refusal:
            return refusal.status, json.dumps({"__type": refusal.name, "message": "no"}).encode()

    def _encrypt(self, asked: dict[str, Any]) -> dict[str, Any]:
        plaintext, arn, nonce = b64decode(asked["Plaintext"]), asked["KeyId"], os.urandom(12)
        if not 1 <= len(plaintext) <= 4096:
            raise Refusal(400, "ValidationException")
        sealed = AESGCM(self._key(arn)).encrypt(nonce, plaintext, context_bytes(asked))
        blob = arn.encode() + b"\0" + nonce + sealed
        return {"CiphertextBlob": b64encode(blob).decode(), "KeyId": arn, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}

    def _decrypt(self, asked: dict[str, Any]) -> dict[str, Any]:
        arn, _, rest = b64decode(asked["CiphertextBlob"]).partition(b"\0")
        if arn.decode(errors="replace") not in self.keys:
            raise Refusal(400, "InvalidCiphertextException")
        if asked.get("KeyId", arn.decode()) != arn.decode():
            raise Refusal(400, "IncorrectKeyException")
        try:
            plaintext = AESGCM(self._key(arn.decode())).decrypt(rest[:12], rest[12:], context_bytes(asked))
        except InvalidTag:
            raise Refusal(400, "InvalidCiphertextException") from None
        return {
            "KeyId": arn.decode(),
            "Plaintext": b64encode(plaintext).decode(),
            "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        }

    def _key(self, arn: str) -> bytes:
        if arn not in self.keys:
            raise Refusal(400, "NotFoundException")
        return self.keys[arn]


def context_bytes(asked: dict[str, Any]) -> bytes:
    return json.dumps(asked.get("EncryptionContext", {}), sort_keys=True).encode()


def check_signature(headers: dict[str, str], body: bytes) -> None:
    """Refuse what is not signed by the test's credentials, for this service, within five minutes."""
    algorithm, _, rest = headers.get("authorization", "").partition(" ")
    fields = dict(part.strip().split("=", 1) for part in rest.split(",") if "=" in part)
    if algorithm != "AWS4-HMAC-SHA256" or set(fields) != {"Credential", "SignedHeaders", "Signature"}:
        raise Refusal(400, "IncompleteSignatureException")
    access, date, region, service, ending = fields["Credential"].split("/")
    stamp = headers.get("x-amz-date", "")
    at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if abs(datetime.now(UTC) - at) > timedelta(minutes=5) or not stamp.startswith(date):
        raise Refusal(400, "InvalidSignatureException")
    if access != ACCESS_KEY_ID or headers.get("x-amz-security-token") != SESSION_TOKEN:
        raise Refusal(400, "UnrecognizedClientException")
    names = fields["SignedHeaders"].split(";")
    if names != sorted(names) or not {"host", "x-amz-date", "x-amz-target", "x-amz-security-token"} <= set(names):
        raise Refusal(400, "IncompleteSignatureException")
    lines = "".join(f"{name}:{headers[name].strip()}\n" for name in names)
    canonical = f"POST\n/\n\n{lines}\n{';'.join(names)}\n{hashlib.sha256(body).hexdigest()}"
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{date}/{region}/{service}/{ending}\n{hashed}"
    key = b"AWS4" + SECRET_ACCESS_KEY.encode()
    for part in (date, REGION, "kms", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    if not hmac.compare_digest(hmac.digest(key, text.encode(), "sha256").hex(), fields["Signature"]):
        raise Refusal(400, "InvalidSignatureException")


@contextmanager
def fake_kms() -> Iterator[FakeKms]:
    """A running service; `.url` reaches it."""
    fake = FakeKms()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer = fake.answer({name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
