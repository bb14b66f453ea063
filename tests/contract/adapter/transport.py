"""One request, one answer: timeouts, headers, the token of the day; nothing is ever sent twice."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from urllib.parse import urlencode

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from app.trading.brokers.ports import BrokerAccount, SessionExpired, Unknown
from tests.contract.adapter.config import LiveConfig
from tests.contract.adapter.mapping import Answer


class LiveTransport:
    """HTTP by one client with a bounded pool, and a WebSocket for each account that is listened to."""

    def __init__(self, config: LiveConfig, *, wire: httpx.AsyncBaseTransport | None = None) -> None:
        self._config = config
        self._client = httpx.AsyncClient(
            base_url=config.http, timeout=config.timeout_seconds, transport=wire, trust_env=False
        )

    async def call(
        self, account: BrokerAccount, method: str, path: str, form: Mapping[str, str] | None = None
    ) -> Answer | Unknown | SessionExpired:
        """What came back; `Unknown` when nothing did, `SessionExpired` when there is no token to ask with."""
        token = self._config.session(account)
        if token is None:
            return SessionExpired()
        headers = {"X-Kite-Version": "3", "Authorization": f"token {self._config.api_key}:{token}"}
        try:
            answer = await self._client.request(method, path, data=form, headers=headers)
        except httpx.ConnectError:
            return Unknown("the broker cannot be reached")
        except httpx.TransportError as error:
            return Unknown(f"the broker did not answer: {type(error).__name__}")
        return Answer(answer.status_code, answer.headers.get("content-type", ""), answer.text)

    async def frames(self, account: BrokerAccount) -> AsyncIterator[str | bytes]:
        """Every frame of the account's socket. Raises `ConnectionError` when it does not open or falls silent."""
        token = self._config.session(account)
        if token is None:
            raise ConnectionError("no session")
        query = urlencode({"api_key": self._config.api_key, "access_token": token})
        try:
            async with connect(
                f"{self._config.websocket}?{query}", open_timeout=self._config.timeout_seconds
            ) as socket:
                while True:
                    async with asyncio.timeout(self._config.silence_seconds):
                        frame = await socket.recv()
                    yield frame
        except ConnectionClosed:
            return
        except (InvalidHandshake, OSError, TimeoutError) as error:
            raise ConnectionError(type(error).__name__) from None  # its text bears the token

    async def close(self) -> None:
        await self._client.aclose()
