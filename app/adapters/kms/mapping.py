"""Decides how the service's JSON becomes our words: requests, answers, and which of its errors may be tried again.

Source: AWS KMS API Reference, actions Encrypt and Decrypt, and "Common Errors".
"""

import json
from base64 import b64decode, b64encode
from typing import Any

from app.infra.crypto.envelope import UnsealError
from app.infra.crypto.ports import Context, Wrapped
from app.kernel.errors import DomainError, Kind

TARGETS = {"encrypt": "TrentService.Encrypt", "decrypt": "TrentService.Decrypt"}
_ALTERED = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
_AGAIN = frozenset(
    {
        "DependencyTimeoutException",
        "InternalFailure",
        "KMSInternalException",
        "KeyUnavailableException",
        "LimitExceededException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
    }
)


class TryAgain(Exception):
    """The service is busy or away: the same request may succeed in a moment. Carries the error's name only."""


def encrypt_body(key_arn: str, key: bytes, context: Context) -> bytes:
    return _json({"KeyId": key_arn, "Plaintext": b64encode(key).decode(), "EncryptionContext": dict(context)})


def decrypt_body(wrapped: Wrapped, context: Context) -> bytes:
    """Names the key, so that the service refuses a ciphertext of any other."""
    blob = b64encode(wrapped.data).decode()
    return _json({"KeyId": wrapped.kek_id, "CiphertextBlob": blob, "EncryptionContext": dict(context)})


def wrapped_of(answer: bytes) -> Wrapped:
    found = _object(answer)
    return Wrapped(b64decode(_text(found, "CiphertextBlob"), validate=True), _text(found, "KeyId"))


def key_of(answer: bytes) -> bytes:
    return b64decode(_text(_object(answer), "Plaintext"), validate=True)


def failure_of(status: int, answer: bytes) -> Exception:
    """What an answer other than 200 means. Its message is not repeated: it may name what was sent."""
    try:
        name = str(json.loads(answer).get("__type", "")).rpartition("#")[2]
    except (ValueError, AttributeError):
        name = ""
    if name in _ALTERED:
        return UnsealError("the key management service refused this data key: altered, or of another row or key")
    if name in _AGAIN or status >= 500 or status == 429:
        return TryAgain(name or f"HTTP {status}")
    return unavailable(f"it refused the request ({name or f'HTTP {status}'}); check its key policy and credentials.")


def unavailable(why: str) -> DomainError:
    """The service did not wrap or unwrap."""
    return DomainError("keys_unavailable", Kind.UNAVAILABLE, f"The key management service cannot be used: {why}")


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _object(answer: bytes) -> dict[str, Any]:
    try:
        found = json.loads(answer)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise unavailable("its answer is no JSON object.")
    return found


def _text(found: dict[str, Any], name: str) -> str:
    value = found.get(name)
    if not isinstance(value, str) or not value:
        raise unavailable(f"its answer lacks {name}.")
    return value
