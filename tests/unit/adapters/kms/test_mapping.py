"""What the service answers becomes a key, a reason to try again, a refusal: never a guess."""

import json

import pytest

from app.adapters.kms.mapping import TryAgain, decrypt_body, encrypt_body, failure_of, key_of, wrapped_of
from app.infra.crypto.envelope import UnsealError
from app.infra.crypto.ports import Wrapped
from app.kernel.errors import DomainError


def test_requests_have_the_documented_form() -> None:
    assert json.loads(encrypt_body("arn", b"\x00\x01", {"a": "b"})) == {
        "KeyId": "arn",
        "Plaintext": "AAE=",
        "EncryptionContext": {"a": "b"},
    }
    assert json.loads(decrypt_body(Wrapped(b"\x02", "arn"), {"a": "b"})) == {
        "KeyId": "arn",
        "CiphertextBlob": "Ag==",
        "EncryptionContext": {"a": "b"},
    }


def test_answers_are_read() -> None:
    assert wrapped_of(b'{"CiphertextBlob": "Ag==", "KeyId": "arn"}') == Wrapped(b"\x02", "arn")
    assert key_of(b'{"Plaintext": "AAE=", "KeyId": "arn"}') == b"\x00\x01"


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b'{"Plaintext": 1}', b'{"Plaintext": ""}', b"\xff"])
def test_an_answer_that_lacks_the_key_is_no_key(answer: bytes) -> None:
    with pytest.raises(DomainError, match="its answer"):
        key_of(answer)


@pytest.mark.parametrize(
    ("status", "answer", "expected"),
    [
        (400, b'{"__type": "InvalidCiphertextException"}', UnsealError),
        (400, b'{"__type": "com.amazonaws.kms#IncorrectKeyException"}', UnsealError),
        (400, b'{"__type": "ThrottlingException"}', TryAgain),
        (500, b'{"__type": "KMSInternalException"}', TryAgain),
        (503, b"<html>", TryAgain),
        (429, b"[]", TryAgain),
        (400, b'{"__type": "AccessDeniedException", "message": "user x"}', DomainError),
        (400, b'{"__type": "DisabledException"}', DomainError),
        (400, b'{"__type": "NewException"}', DomainError),
        (403, b"", DomainError),
    ],
)
def test_each_failure_is_what_it_means(status: int, answer: bytes, expected: type[Exception]) -> None:
    failure = failure_of(status, answer)
    assert type(failure) is expected
    assert "user x" not in str(failure)
