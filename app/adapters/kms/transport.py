"""Decides how the service is called: one signed POST, five seconds, three attempts when it is busy or away."""

from collections.abc import Callable
from datetime import datetime

import httpx
from tenacity import AsyncRetrying, RetryError, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from app.adapters.kms.config import KmsConfig
from app.adapters.kms.mapping import TARGETS, TryAgain, failure_of, unavailable
from app.adapters.kms.signing import signed_headers

ATTEMPTS = 3
TIMEOUT_SECONDS = 5.0


class KmsTransport:
    """Sends one action at a time. Holds no connection between calls: they are rare, and loops come and go."""

    def __init__(self, config: KmsConfig, clock: Callable[[], datetime], *, longest_wait: float = 1.0) -> None:
        self._config = config
        self._clock = clock
        self._wait = wait_random_exponential(multiplier=longest_wait / 8, max=longest_wait)

    async def call(self, action: str, body: bytes) -> bytes:
        """The answer's body. Raises `keys_unavailable`, `UnsealError`."""
        retrying = AsyncRetrying(
            stop=stop_after_attempt(ATTEMPTS), wait=self._wait, retry=retry_if_exception_type(TryAgain)
        )
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_SECONDS) as client:
                async for attempt in retrying:
                    with attempt:
                        return await self._post(client, action, body)
        except RetryError as error:
            raise unavailable(f"it stayed busy or away ({error.last_attempt.exception()}).") from None
        raise AssertionError("an attempt returns or raises")

    async def _post(self, client: httpx.AsyncClient, action: str, body: bytes) -> bytes:
        config = self._config
        headers = signed_headers(
            "POST",
            f"{config.endpoint}/",
            {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": TARGETS[action]},
            body,
            region=config.region,
            service="kms",
            access_key_id=config.access_key_id,
            secret_access_key=config.secret_access_key,
            session_token=config.session_token,
            now=self._clock(),
        )
        try:
            answer = await client.post(f"{config.endpoint}/", headers=headers, content=body)
        except httpx.TransportError as error:
            raise TryAgain(type(error).__name__) from None
        if answer.status_code != 200:
            raise failure_of(answer.status_code, answer.content)
        return answer.content
