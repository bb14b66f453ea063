"""Signatures equal those of AWS's published examples ("Signature Version 4 test suite" and its key derivation)."""

from datetime import UTC, datetime

import pytest

from app.adapters.kms.signing import signed_headers, signing_key

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
AT = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)


def sign(method: str, headers: dict[str, str], body: bytes = b"", token: str | None = None) -> dict[str, str]:
    return signed_headers(
        method, "https://example.amazonaws.com/", headers, body, region="us-east-1", service="service",
        access_key_id="AKIDEXAMPLE", secret_access_key=SECRET, session_token=token, now=AT,
    )  # fmt: skip


def test_the_signing_key_is_the_published_one() -> None:
    derived = signing_key(SECRET, "20120215", "us-east-1", "iam").hex()
    assert derived == "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d"


@pytest.mark.parametrize(
    ("method", "signature"),
    [
        ("GET", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),  # get-vanilla
        ("POST", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),  # post-vanilla
    ],
)
def test_the_signature_is_the_published_one(method: str, signature: str) -> None:
    assert sign(method, {})["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders=host;x-amz-date, Signature={signature}"
    )


def test_every_header_body_and_token_is_signed() -> None:
    plain = sign("POST", {"X-Amz-Target": "a"})["Authorization"]
    assert "SignedHeaders=host;x-amz-date;x-amz-target," in plain
    others = [
        sign("POST", {"X-Amz-Target": "b"}),
        sign("POST", {"X-Amz-Target": "a"}, b"{}"),
        sign("POST", {"X-Amz-Target": "a"}, token="t"),
        sign("GET", {"X-Amz-Target": "a"}),
    ]
    assert len({plain, *(one["Authorization"] for one in others)}) == 5
    assert "x-amz-security-token" in others[2]["Authorization"]
    assert SECRET not in str([plain, *others])
