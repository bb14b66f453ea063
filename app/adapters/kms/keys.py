"""Decides what the service does for us: `infra.crypto.ports.KeyKeeper` by its actions Encrypt and Decrypt.

Each call names an encryption context, so a wrapped key opens for its own tenant and id only, and the service's log
says whose key was asked for. The service rotates what lies behind an ARN by itself; another ARN is a new setting.
"""

from collections.abc import Callable
from datetime import datetime

from app.adapters.kms.config import KmsConfig
from app.adapters.kms.mapping import decrypt_body, encrypt_body, key_of, wrapped_of
from app.adapters.kms.transport import KmsTransport
from app.infra.crypto.ports import Context, Wrapped


class KmsKeys:
    """Wraps under `config.key_arn`; unwraps under whichever key a data key was wrapped with."""

    def __init__(self, config: KmsConfig, clock: Callable[[], datetime], *, longest_wait: float = 1.0) -> None:
        self._config = config
        self._transport = KmsTransport(config, clock, longest_wait=longest_wait)

    async def current(self) -> str:
        return self._config.key_arn

    async def wrap(self, key: bytes, context: Context) -> Wrapped:
        answer = await self._transport.call("encrypt", encrypt_body(self._config.key_arn, key, context))
        return wrapped_of(answer)

    async def unwrap(self, wrapped: Wrapped, context: Context) -> bytes:
        return key_of(await self._transport.call("decrypt", decrypt_body(wrapped, context)))

    async def rotate(self) -> str:
        """Nothing to do here: the setting named the new key already."""
        return self._config.key_arn
