"""Decides how a client is read: always anew, in a question that begins after the request came, with all who wait.

What has ended gets no token in any process from the commit on, so nothing is remembered. But requests that come while
a question is out go together in the next one: at the token endpoint a question each cost as much as all the rest.
"""

from collections.abc import Sequence

import asyncpg

from app.infra.together import Batches
from app.platform.oauth import repository
from app.platform.oauth.domain import StoredClient

TOGETHER = 200
"""Clients in one question, at most."""


class ClientLookup:
    """Reads clients in force."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._batches = Batches(self._read, most=TOGETHER)

    async def client(self, client_id: str) -> StoredClient | None:
        """The client with this public id, of whatever tenant; None for one that is not in force."""
        return await self._batches.ask(client_id)

    async def _read(self, client_ids: Sequence[str]) -> Sequence[StoredClient | None]:
        found = await repository.clients_in_force(self._pool, list(dict.fromkeys(client_ids)))
        return [found.get(client_id) for client_id in client_ids]
