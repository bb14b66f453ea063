"""Decides how private keys rest in the database: AES-256-GCM under a key of the settings, bound to their row."""

import base64
import binascii
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE = 12
_KEY = 32


class LocalSealer:
    """A `ports.Sealer` whose key this process holds. A key service implements the same port."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(derive_key(key, b"mandi oauth signing keys"))

    def __repr__(self) -> str:
        return "LocalSealer(…)"

    def seal(self, plaintext: bytes, associated: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, plaintext, associated)

    def unseal(self, sealed: bytes, associated: bytes) -> bytes:
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], associated)
        except InvalidTag:
            raise ValueError("sealed under another key, or changed since") from None


def decode_key(text: str) -> bytes:
    """32 bytes from base64url. Raises `ValueError`, without the text."""
    try:
        key = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _KEY:
        raise ValueError("must be 32 bytes in base64url")
    return key


def derive_key(key: bytes, purpose: bytes) -> bytes:
    """A key of its own for each purpose: what one reveals tells nothing about another."""
    return HKDF(hashes.SHA256(), _KEY, salt=None, info=purpose).derive(key)
