"""Decides how a client is read: always anew, in a question that begins after the request came, with all who wait.

What has ended gets no token in any process from the commit on, so nothing is remembered. But requests that come while
a question is out go together in the next one: at the token endpoint a question each cost as much as all the rest.
"""

import asyncio

import asyncpg

from app.platform.oauth import repository
from app.platform.oauth.domain import StoredClient

TOGETHER = 200
"""Clients in one question, at most."""


class ClientLookup:
    """Reads clients in force."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._waiting: dict[str, asyncio.Future[StoredClient | None]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def client(self, client_id: str) -> StoredClient | None:
        """The client with this public id, of whatever tenant; None for one that is not in force."""
        found = self._waiting.get(client_id)
        if found is None:
            found = self._waiting[client_id] = asyncio.get_running_loop().create_future()
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_for_all())
        return await asyncio.shield(found)  # one who goes away takes nobody with him

    async def _ask_for_all(self) -> None:
        """Questions until nobody waits."""
        while self._waiting:
            some = [(one, self._waiting.pop(one)) for one in list(self._waiting)[:TOGETHER]]
            try:
                clients = await repository.clients_in_force(self._pool, [client_id for client_id, _ in some])
            except Exception as error:  # whatever it is, nobody may wait for ever
                for _, found in some:
                    found.set_exception(error)
            else:
                for client_id, found in some:
                    found.set_result(clients.get(client_id))
        self._asking = None
