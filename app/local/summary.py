"""Decides how the summary's figures are read: one snapshot, as the application's role, under the tenant's policy."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from app.local.figures import Summary

T = TypeVar("T")
_FEED = "select market_at, status, bars_published from feed_state where feed = 'replay'"
_LEDGER_SUMS = """
select a.currency, sum(e.amount)::bigint as total
from ledger_entries e
join ledger_accounts a on a.tenant_id = e.tenant_id and a.id = e.ledger_account_id
group by a.currency
"""
_DRIFTED = """
select count(*) from ledger_accounts a
where a.posted <> (
    select coalesce(sum(e.amount), 0) from ledger_entries e
    where e.tenant_id = a.tenant_id and e.ledger_account_id = a.id
)
"""
# a server that restarts; a mistake in a statement is not among them and is raised
_LOST = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.exceptions.OperatorInterventionError,
)


class SummaryReader:
    """Reads `Summary`s over one connection of role `mandi_app`, reopened when it breaks. Blocking; one thread."""

    def __init__(self, app_url: str, tenant_id: UUID) -> None:
        self._url, self._tenant_id = app_url, tenant_id
        self._runner = asyncio.Runner()
        self._connection: asyncpg.Connection | None = None

    def read(self) -> Summary | None:
        """The figures now; None while the database cannot be reached."""
        return self._runner.run(self._with_connection(self._read))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        self._runner.close()

    async def _with_connection(self, go: Callable[[Any], Awaitable[T]]) -> T | None:
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await asyncpg.connect(self._url, timeout=5, command_timeout=10)
            async with self._connection.transaction(isolation="repeatable_read", readonly=True):
                await self._connection.execute("select set_config('app.tenant_id', $1, true)", str(self._tenant_id))
                return await go(self._connection)
        except _LOST:
            if self._connection is not None:
                self._connection.terminate()
            self._connection = None
            return None

    async def _read(self, connection: Any) -> Summary:
        feed = await connection.fetchrow(_FEED)
        if feed is None:
            return Summary()
        sums = await connection.fetch(_LEDGER_SUMS)
        return Summary(
            market_at=feed["market_at"],
            feed_status=feed["status"],
            bars=feed["bars_published"],
            ledger={row["currency"]: row["total"] for row in sums},
            drifted=await connection.fetchval(_DRIFTED),
        )
