"""Decides what a transaction is: a tenant, one unit of writing, and no way to commit by hand (rules 4–6)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from time import monotonic
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import structlog
from sqlalchemy import Executable, Result, ScalarResult, event, text
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.pool import ConnectionPoolEntry
from sqlmodel import SQLModel

from app.infra.columns import TenantRow
from app.infra.events.tables import EventRow
from app.infra.outages import is_outage
from app.infra.roles import refuse_unsafe_role
from app.infra.settings import Settings
from app.infra.together import Function, Together
from app.infra.work.tables import WorkItem, shard_of
from app.kernel.principal import Principal

Row = TypeVar("Row", bound=SQLModel)
log = structlog.get_logger(__name__)
_ASK_AGAIN_SECONDS = 0.25
_SET_TENANT = text("select set_config('app.tenant_id', :tenant, true)")
_SET_PERSON = text("select set_config('app.user_id', :person, true)")


def sqlalchemy_url(url: str) -> str:
    """A libpq-style URL with SQLAlchemy's asyncpg driver named."""
    return "postgresql+asyncpg://" + url.split("://", 1)[1]


NOTICED = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "3",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
"""Settings of every session: the server notices within 15 s that its other end is gone with its machine, not after the
two hours of the kernel. Until then it keeps the locks, a leader's among them, for somebody who does not come back."""

_IDLE = {"idle_in_transaction_session_timeout": "60000"}
"""Nothing of ours waits so long within a transaction: who does stands still, and holds back all tenants' events."""

_PLANS = {"plan_cache_mode": "force_generic_plan"}
"""Every statement of the hot paths finds its rows by keys, whatever the values are: to plan it anew for the first five
values, on each connection, costs more than to run it a hundred times."""


async def _no_reset(_: asyncpg.Connection) -> None:
    """All session state is transaction-local, so a connection needs no reset between uses (0.1 ms saved)."""


async def open_pool(url: str, *, size: int) -> asyncpg.Pool:
    """A plain asyncpg pool for the SQL functions of the hot paths. Refuses a role that bypasses tenant isolation."""
    pool = await asyncpg.create_pool(
        url, min_size=1, max_size=size, reset=_no_reset, command_timeout=30, server_settings=NOTICED | _IDLE | _PLANS
    )
    try:
        async with pool.acquire() as connection:
            await refuse_unsafe_role(connection)
    except BaseException:
        pool.terminate()
        raise
    return pool


class Tx:
    """One tenant's unit of work: everything in it is committed together, by whoever opened it, or not at all.

    It has no `commit`. `fetch*` run one statement at once on the plain pool: they are for SQL functions that are a
    transaction by themselves and take the tenant as their first argument (the order path).

    `principal` called, or `operator`, a person of the platform's own, works at its command line; no request is his.
    """

    def __init__(
        self,
        tenant_id: UUID,
        sessions: async_sessionmaker[AsyncSession],
        pool: asyncpg.Pool,
        together: Together,
        principal: Principal | None,
        operator: str | None = None,
    ) -> None:
        self.tenant_id = tenant_id
        self.principal = principal
        self.operator = operator
        self._sessions = sessions
        self._session: AsyncSession | None = None
        self.woken: set[tuple[str, int]] = set()
        self.told: list[Callable[[], Awaitable[object]]] = []
        self._pool = pool
        self._together = together

    @property
    def session(self) -> AsyncSession:
        """The ORM's session, made at its first use: the order path needs none."""
        if self._session is None:
            self._session = self._sessions(info={"tenant_id": self.tenant_id})
        return self._session

    def add(self, row: TenantRow) -> None:
        """Insert `row` at the end. Its tenant is the transaction's."""
        row.tenant_id = self.tenant_id
        self.session.add(row)

    async def get(self, model: type[Row], row_id: UUID) -> Row | None:
        """The tenant's row with this id, or None; another tenant's row does not exist here."""
        return await self.session.get(model, (self.tenant_id, row_id))

    async def execute(self, statement: Executable, parameters: dict[str, Any] | None = None) -> Result[Any]:
        return await self.session.execute(statement, parameters)

    async def scalars(self, statement: Executable, parameters: dict[str, Any] | None = None) -> ScalarResult[Any]:
        return await self.session.scalars(statement, parameters)

    async def flush(self) -> None:
        """Send the pending rows, so that a later statement of the same transaction sees them."""
        await self.session.flush()

    def emit(
        self,
        event_type: str,
        subject_id: UUID,
        data: dict[str, Any],
        *,
        account_id: UUID | None = None,
    ) -> UUID:
        """Append one public event about `subject_id`; its id. `data` carries no secret."""
        who = self.principal
        row = EventRow(
            tenant_id=self.tenant_id,
            type=event_type,
            subject_id=subject_id,
            account_id=account_id,
            data=data,
            actor_key_id=who.key_id if who else None,
            actor_user_id=who.user_id if who else None,
            actor_tenant_id=who.home_tenant_id if who else None,
            grant_id=who.grant_id if who else None,
            actor_operator=self.operator,
            source_ip=who.source_ip if who else None,
            request_id=who.request_id if who else None,
        )
        self.add(row)
        return row.id

    def work(
        self,
        queue: str,
        kind: str,
        lane: UUID,
        payload: dict[str, Any],
        *,
        priority: int = 1,
        available_at: datetime | None = None,
    ) -> None:
        """Append one row of work to `lane` of `queue`. Priority 0 (cancels, exits) runs before 1."""
        item = WorkItem(
            tenant_id=self.tenant_id,
            queue=queue,
            shard=shard_of(self.tenant_id),
            lane=lane,
            kind=kind,
            payload=payload,
            priority=priority,
        )
        if available_at is not None:
            item.available_at = available_at
        self.add(item)
        self.wake(queue)

    def wake(self, queue: str) -> None:
        """Poke the relay for this tenant's shard of `queue` once the transaction is committed."""
        self.woken.add((queue, shard_of(self.tenant_id)))

    def tell(self, work: Callable[[], Awaitable[object]]) -> None:
        """Call `work` once the transaction is committed, before the request is answered; never when it is not.

        For what Redis or this process must hear of. `work` raises nothing: what was committed stays.
        """
        self.told.append(work)

    def forget(self) -> None:
        """Nothing follows the commit: what was done was taken back, to a savepoint."""
        self.woken.clear()
        self.told.clear()

    async def fetch(self, sql: str, *arguments: object) -> Sequence[asyncpg.Record]:
        rows: Sequence[asyncpg.Record] = await self._pool.fetch(sql, *arguments)
        return rows

    async def fetchrow(self, sql: str, *arguments: object) -> asyncpg.Record | None:
        return await self._pool.fetchrow(sql, *arguments)

    async def fetchval(self, sql: str, *arguments: object) -> Any:
        return await self._pool.fetchval(sql, *arguments)

    async def ask(self, function: Function, lane: UUID, *arguments: object) -> Any:
        """What a SQL function answers this tenant, asked together with what others ask it; `lane` is what it locks."""
        return await self._together.ask(function, self.tenant_id, lane, *arguments)

    def turn(self, lane: UUID) -> asyncio.Lock:
        """Whoever decides on what `lane` holds takes his turn: others of this process would decide in vain."""
        return self._together.turn(lane)


class PersonTx:
    """One person's unit of work, outside every tenant: it sees that person's rows and no tenant's. No `commit`."""

    def __init__(self, user_id: UUID, session: AsyncSession) -> None:
        self.user_id = user_id
        self._session = session

    def add(self, row: SQLModel) -> None:
        """Insert `row` at the end. Row-level security refuses another person's."""
        self._session.add(row)

    async def get(self, model: type[Row], row_id: UUID) -> Row | None:
        """The person's row with this id, or None."""
        return await self._session.get(model, row_id)

    async def execute(self, statement: Executable, parameters: dict[str, Any] | None = None) -> Result[Any]:
        return await self._session.execute(statement, parameters)

    async def scalars(self, statement: Executable, parameters: dict[str, Any] | None = None) -> ScalarResult[Any]:
        return await self._session.scalars(statement, parameters)

    async def flush(self) -> None:
        """Send the pending rows, so that a later statement of the same transaction sees them."""
        await self._session.flush()


class Database:
    """The pools of one process: `pool` and sessions as `mandi_app`, `dispatch` and `reference` as their roles."""

    def __init__(
        self,
        engine: AsyncEngine,
        pool: asyncpg.Pool,
        dispatch: asyncpg.Pool,
        reference: asyncpg.Pool,
        *,
        on_commit: Callable[[str, int], None],
    ) -> None:
        self.pool = pool
        self.dispatch = dispatch
        self.reference = reference
        self._engine = engine
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)
        self._on_commit = on_commit
        self._together = Together(pool)

    @asynccontextmanager
    async def tx(
        self, tenant_id: UUID, principal: Principal | None = None, *, operator: str | None = None
    ) -> AsyncIterator[Tx]:
        """One transaction for `tenant_id`: committed when the block ends, rolled back when it raises.

        The connection is taken at the first ORM statement, so a block that only calls `fetch*` opens none.
        """
        tx = Tx(tenant_id, self._sessions, self.pool, self._together, principal, operator)
        try:
            yield tx
            if tx._session is not None:
                await tx._session.commit()
        finally:
            if tx._session is not None:
                await asyncio.shield(tx._session.close())
        for queue, shard in tx.woken:
            self._on_commit(queue, shard)
        for work in tx.told:
            await work()

    @asynccontextmanager
    async def person(self, user_id: UUID) -> AsyncIterator[PersonTx]:
        """One transaction for the person `user_id`: committed when the block ends, rolled back when it raises."""
        session = self._sessions(info={"user_id": user_id})
        try:
            yield PersonTx(user_id, session)
            await session.commit()
        finally:
            await asyncio.shield(session.close())

    async def close(self) -> None:
        """Close every pool; a connection that is still busy after three seconds is cut off."""
        await self._engine.dispose()
        for pool in (self.pool, self.dispatch, self.reference):
            try:
                async with asyncio.timeout(3):
                    await pool.close()
            except TimeoutError:
                pool.terminate()


@event.listens_for(Session, "after_begin")
def _set_tenant(session: Session, _: SessionTransaction, connection: Any) -> None:
    """Every database transaction of a session carries its tenant or person: without, no row is visible."""
    tenant_id = session.info.get("tenant_id")
    if tenant_id is not None:
        connection.execute(_SET_TENANT, {"tenant": str(tenant_id)})
    user_id = session.info.get("user_id")
    if user_id is not None:
        connection.execute(_SET_PERSON, {"person": str(user_id)})


def _refuse_closed(_: Any, record: ConnectionPoolEntry, __: Any) -> None:
    """Skip connections that the server has cut meanwhile: the driver knows without asking, unlike a ping."""
    if record.driver_connection is not None and record.driver_connection.is_closed():
        raise DisconnectionError("the server closed this connection")


async def open_database(
    settings: Settings, *, on_commit: Callable[[str, int], None], patience_s: float = 0.0
) -> Database:
    """Open every pool; raises `UnsafeRoleError` when a role could see past row-level security.

    A server that is away, or only starts, is waited for at most `patience_s` seconds.
    """
    deadline = monotonic() + patience_s
    while True:
        try:
            return await _open_pools(settings, on_commit)
        except Exception as error:
            if not is_outage(error) or monotonic() >= deadline:
                raise
            log.warning("database.awaited", error=repr(error))
            await asyncio.sleep(_ASK_AGAIN_SECONDS)


async def _open_pools(settings: Settings, on_commit: Callable[[str, int], None]) -> Database:
    size = settings.database_pool_size
    url = settings.app_database_url.get_secret_value()
    engine = create_async_engine(
        sqlalchemy_url(url),
        pool_size=size,
        max_overflow=0,
        pool_pre_ping=False,
        hide_parameters=True,
        connect_args={"server_settings": NOTICED | _IDLE},
    )  # parameters in the text of an error would end in the log
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    async with AsyncExitStack() as opened:
        pool = await open_pool(url, size=size)
        opened.callback(pool.terminate)
        dispatch = await open_pool(settings.dispatch_database_url.get_secret_value(), size=max(4, size // 2))
        opened.callback(dispatch.terminate)
        reference = await open_pool(settings.reference_database_url.get_secret_value(), size=2)
        opened.pop_all()
    return Database(engine, pool, dispatch, reference, on_commit=on_commit)
