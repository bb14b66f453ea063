"""What reads of global rows need of a connection."""

from collections.abc import Sequence
from typing import Any, Protocol

import asyncpg


class Reader(Protocol):
    """A `Tx`, an asyncpg pool or a connection. Global rows have no tenant, so any of them will do."""

    async def fetch(self, sql: str, /, *arguments: Any) -> Sequence[asyncpg.Record]: ...

    async def fetchrow(self, sql: str, /, *arguments: Any) -> asyncpg.Record | None: ...
