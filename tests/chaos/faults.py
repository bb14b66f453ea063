"""Faults at the boundary of a process: at a call of PostgreSQL, Redis or a broker, by its name and as a seed draws it.

Nothing of ours is patched: the pools, the stream and the broker that a process is given are wrapped.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from enum import StrEnum
from random import Random
from typing import Any, NoReturn, TypeVar, cast
from uuid import UUID

import asyncpg
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.infra.database import Database
from app.infra.process import App
from app.infra.together import Function, Together
from app.infra.work.relay import Poker
from app.trading.brokers.ports import Capabilities

Answer = TypeVar("Answer")
_NAME = re.compile(r"(?:select (?:\* from )?|from )(\w+)(?=\(| where)")


class How(StrEnum):
    """What happens to a call. A killed process reaches nothing any more, not even to tidy up."""

    REFUSED = "refused"
    UNHEARD = "unheard"  # it takes effect, and its answer is lost
    CANCELLED = "cancelled"
    KILLED = "killed"


@dataclass
class Stall:
    """Where a process stands still, before the call has reached anybody or after it has done its work."""

    name: str
    after: bool
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def stand(self) -> None:
        self.reached.set()
        await self.over.wait()


@dataclass
class Process:
    """What runs until it is done, fails or is killed. `task` is what whoever stops it cancels."""

    stall: Stall | None = None
    task: asyncio.Task[Any] | None = None
    dead: bool = False
    together: Together | None = None


PROCESS: ContextVar[Process] = ContextVar("process")
OUTSIDE = (OSError, RedisError, DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncio.CancelledError)
"""What a process may end with that nobody answers."""


def start(body: Coroutine[Any, Any, Any], stall: Stall | None = None) -> asyncio.Task[Any]:
    process = Process(stall)
    token = PROCESS.set(process)
    process.task = asyncio.create_task(body)
    PROCESS.reset(token)
    return process.task


async def end(task: asyncio.Task[Any]) -> None:
    """Until the process has ended. What it ends with is its own affair, but for a mistake."""
    with suppress(*OUTSIDE):
        await task


async def overtaken(first: asyncio.Task[Any], stall: Stall, others: Callable[[], Awaitable[None]]) -> None:
    """`first` stands still where `stall` says, if it comes there; `others` do what they do; then it goes on."""
    reached = asyncio.ensure_future(stall.reached.wait())
    await asyncio.wait({first, reached}, return_when="FIRST_COMPLETED")
    stall.reached.set()
    await others()
    stall.over.set()
    await end(first)


@dataclass
class Faults:
    """Draws what happens at each call: to `rate` of them at random, to each of `targets` when its name is called."""

    random: Random
    rate: float = 0.0
    targets: list[tuple[str, How]] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    met: Counter[tuple[str, How]] = field(default_factory=Counter)

    def draw(self, name: str) -> How | None:
        self.seen[name] += 1
        for target in self.targets:
            if target[0] == name:
                self.targets.remove(target)
                return target[1]
        return self.random.choice(list(How)) if self.random.random() < self.rate else None

    async def at(self, name: str, error: Callable[[], Exception], call: Callable[[], Awaitable[Answer]]) -> Answer:
        """`call`, unless something happens to it: before it has reached anybody, or after it has done its work."""
        process = PROCESS.get()
        if process.dead:
            raise asyncio.CancelledError
        if process.stall is not None and process.stall.name == name:
            return await _stalled(process.stall, call)
        how = self.draw(name)
        if how is None:
            return await call()
        self.met[name, how] += 1
        if how is How.UNHEARD or (how is not How.REFUSED and self.random.random() < 0.5):
            await call()
        if how in (How.REFUSED, How.UNHEARD):
            raise error()
        process.dead = how is How.KILLED
        await _cancel(process)


async def _stalled(stall: Stall, call: Callable[[], Awaitable[Answer]]) -> Answer:
    if not stall.after:
        await stall.stand()
        return await call()
    answer = await call()
    await stall.stand()
    return answer


async def _cancel(process: Process) -> NoReturn:
    """End the process from outside, as whoever stops it does: what it waits for is cancelled with it."""
    current = asyncio.current_task()
    assert current is not None
    if process.task is not None:
        process.task.cancel()
    if not current.cancelling():
        current.cancel()
    await asyncio.sleep(0)
    raise AssertionError("a cancelled task went on")


def no_database() -> Exception:
    lost: Exception = asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
    return lost


def no_redis() -> RedisConnectionError:
    return RedisConnectionError("connection reset by peer")


def no_broker() -> Exception:
    return ConnectionResetError("connection reset by peer")


def name_of(sql: str) -> str:
    """The function that a statement calls, else its table."""
    found = _NAME.search(" ".join(sql.split()))
    return found[1] if found else sql


@dataclass(frozen=True)
class Flaw:
    """What a test plants: it spoils the arguments of a statement, by its name, or what is read of its answer."""

    arguments: Callable[[str, tuple[object, ...]], tuple[object, ...]] = lambda _, given: given
    answer: Callable[[str, Any], Any] = lambda _, said: said


class FaultyPool:
    """An asyncpg pool to whose statements things happen."""

    def __init__(self, pool: asyncpg.Pool, faults: Faults, flaw: Flaw) -> None:
        self._pool = pool
        self._faults = faults
        self._flaw = flaw

    def __getattr__(self, method: str) -> Any:
        if method not in ("fetch", "fetchrow", "fetchval", "execute"):
            raise AttributeError(method)

        async def run(sql: str, *arguments: object) -> Any:
            name = name_of(sql)
            given = self._flaw.arguments(name, arguments)
            said = await self._faults.at(name, no_database, lambda: getattr(self._pool, method)(sql, *given))
            return self._flaw.answer(name, said)

        return run


class Apart(Together):
    """Of the process that asks: nothing that one process waits for keeps another back."""

    def turn(self, lane: UUID) -> asyncio.Lock:
        return self._own().turn(lane)

    async def ask(self, function: Function, tenant_id: UUID, lane: UUID, *arguments: object) -> Any:
        return await self._own().ask(function, tenant_id, lane, *arguments)

    def _own(self) -> Together:
        process = PROCESS.get()
        if process.together is None:
            process.together = Together(self._pool)
        return process.together


class FaultyRedis:
    """A client of Redis to whose calls things happen."""

    def __init__(self, redis: Any, faults: Faults) -> None:
        self._redis = redis
        self._faults = faults

    def __getattr__(self, method: str) -> Any:
        async def run(*arguments: Any, **named: Any) -> Any:
            return await self._faults.at(
                f"redis.{method}", no_redis, lambda: getattr(self._redis, method)(*arguments, **named)
            )

        return run

    @asynccontextmanager
    async def pipeline(self, **named: Any) -> AsyncIterator[Any]:
        """Many commands in one call."""
        async with self._redis.pipeline(**named) as asked:
            execute = asked.execute
            asked.execute = lambda: self._faults.at("redis.execute", no_redis, execute)
            yield asked


class FaultyBroker:
    """A broker to whose calls things happen."""

    def __init__(self, broker: Any, faults: Faults) -> None:
        self._broker = broker
        self._faults = faults

    @property
    def capabilities(self) -> Capabilities:
        can: Capabilities = self._broker.capabilities
        return can

    async def submit(self, order: object) -> Any:
        return await self._call("submit", order)

    async def modify(self, order: object, change: object) -> Any:
        return await self._call("modify", order, change)

    async def cancel(self, order: object) -> Any:
        return await self._call("cancel", order)

    async def find(self, order: object) -> Any:
        return await self._call("find", order)

    async def orders(self, account: object) -> Any:
        return await self._call("orders", account)

    async def _call(self, method: str, *what: object) -> Any:
        return await self._faults.at(f"broker.{method}", no_broker, lambda: getattr(self._broker, method)(*what))

    def updates(self, account: object) -> AsyncIterator[str | None]:
        raise NotImplementedError("the book is read when the test says so")


def faulty(app: App, faults: Faults, flaw: Flaw) -> App:
    """The same process, to whose calls things happen. Closing it is for whoever opened `app`."""

    class Session(AsyncSession):
        async def execute(self, *arguments: Any, **named: Any) -> Any:
            execute = super().execute
            return await faults.at("execute", no_database, lambda: execute(*arguments, **named))

        async def commit(self) -> None:
            await faults.at("commit", no_database, super().commit)

    opened = app.database
    redis: Any
    stream: Any
    redis, stream = (FaultyRedis(client, faults) for client in (app.redis, app.stream))
    poker = Poker(redis)
    database = Database(
        opened._engine,
        cast(asyncpg.Pool, FaultyPool(opened.pool, faults, flaw)),
        cast(asyncpg.Pool, FaultyPool(opened.dispatch, faults, flaw)),
        opened.reference,
        on_commit=poker.poke,
    )
    database._together = Apart(database.pool)
    database._sessions = async_sessionmaker(opened._engine, class_=Session, expire_on_commit=False)
    return replace(app, database=database, redis=redis, stream=stream, poker=poker)
