"""Decides how a secret rests until the envelope encryption takes over: AES-256-GCM under one key of the deployment."""

import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE = 12
_VERSION = b"\x01"


class LocalSealer:
    """Implements `ports.Sealer`: version, nonce, ciphertext with tag; the context is authenticated, not stored."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    async def seal(self, data: bytes, *, context: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        return _VERSION + nonce + self._cipher.encrypt(nonce, data, _VERSION + context)

    async def unseal(self, sealed: bytes, *, context: bytes) -> bytes:
        """Raises `cryptography.exceptions.InvalidTag` for what was changed or sealed for another context."""
        nonce, body = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
        return self._cipher.decrypt(nonce, body, sealed[:1] + context)
