"""Decides what goes to the database together: what is asked while a call is out goes in the next one, each by itself.

A call's own cost (its round trip, its commit, what PostgreSQL sets up for every transaction) is as much as what a small
SQL function does in it. Alone nobody waits for others.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Generic, TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

import asyncpg

from app.infra.outages import is_outage
from app.infra.waiting import few_at_once

Q = TypeVar("Q")
A = TypeVar("A")

MOST = 16
"""Questions in one call of a SQL function: the rows that it locks stay locked until all are answered."""

AT_ONCE = 3
"""Calls of one SQL function that are out."""

LOCK_WAIT = "100ms"
"""How long a call for many waits for a lock: after that its questions are asked one by one, and only those that need it
wait on. The locks of fills and of other orders are held for a tenth of it."""

LASTING_SECONDS = 0.2
"""A call that is out for longer waits for a lock, or the database is slow: it takes no place of another."""


class Batches(Generic[Q, A]):
    """Answers questions by calls of `ask`, which takes at most `most` of them and answers them in their order.

    A question is asked by a call that begins after it came. A call that fails, unless the database went away or did not
    answer in time, has done nothing: its questions are asked one by one, so that each fails, or waits, by itself.
    """

    def __init__(self, ask: Callable[[Sequence[Q]], Awaitable[Sequence[A]]], *, most: int, at_once: int = 1) -> None:
        self._ask = ask
        self._most = most
        self._at_once = at_once
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._calls: set[asyncio.Task[None]] = set()
        self._lasting: set[asyncio.Task[None]] = set()
        self._begins = False

    async def ask(self, question: Q) -> A:
        """Its answer. Raises what `ask` raises for it."""
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        self._begin()
        return await answer

    def _begin(self) -> None:
        """Another call, unless one is about to take what waits, or as many as may be are out."""
        if self._waiting and not self._begins and len(self._calls) < self._at_once:
            self._begins = True
            call = asyncio.create_task(self._call())
            self._calls.add(call)
            call.add_done_callback(self._ended)
            call.get_loop().call_later(LASTING_SECONDS, self._lasts, call)

    def _lasts(self, call: asyncio.Task[None]) -> None:
        if call in self._calls:
            self._calls.discard(call)
            self._lasting.add(call)
            self._begin()

    def _ended(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        self._lasting.discard(call)
        self._begins = self._begins and not call.cancelled()  # it may not have come to take what waits
        self._begin()

    async def _call(self) -> None:
        self._begins = False
        some, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        self._begin()  # for the rest of a burst
        try:
            await self._answer([one for one in some if not one[1].done()])
        finally:
            for _, answer in some:
                if not answer.done():
                    answer.cancel()  # the call was cancelled: nobody may wait for ever

    async def _answer(self, some: Sequence[tuple[Q, "asyncio.Future[A]"]]) -> None:
        if not some:
            return
        try:
            answers = await self._ask([question for question, _ in some])
        except Exception as error:
            if len(some) > 1 and not is_outage(error) and not isinstance(error, TimeoutError):
                await few_at_once(self._at_once + 1, [partial(self._answer, [one]) for one in some])
                return
            for _, answer in some:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), said in zip(some, answers, strict=True):
            if not answer.done():
                answer.set_result(said)


@dataclass(frozen=True)
class Function:
    """A SQL function that is a transaction by itself and takes its tenant first. `types`: of its arguments."""

    name: str
    types: tuple[str, ...]

    @cached_property
    def alone(self) -> str:
        """The statement that asks for one: a parameter for each argument."""
        return f"select {self.name}({self._parameters('')})"

    @cached_property
    def many(self) -> str:
        """The statement that asks for each of many, in their order: an array for each argument."""
        columns = ", ".join(f"a{place}" for place in range(1, len(self.types) + 1))
        bound = f"(select set_config('lock_timeout', '{LOCK_WAIT}', true)) bound"
        asked = f"unnest({self._parameters('[]')}) asked ({columns})"
        return f"select {self.name}({columns}) from {bound}, {asked}"  # noqa: S608 - our own names

    def _parameters(self, of: str) -> str:
        return ", ".join(f"${place}::{name}{of}" for place, name in enumerate(self.types, start=1))


_Asked = tuple[tuple[UUID, UUID], tuple[object, ...]]


class Together:
    """What one process asks of SQL functions on `pool`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._functions: dict[Function, Batches[_Asked, Any]] = {}
        self._turns: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    def turn(self, lane: UUID) -> asyncio.Lock:
        """The lock by which those of this process who decide on `lane` take turns: at once, all but one of them would
        have decided on what another has changed. Other processes are found out when they write."""
        return self._turns.setdefault(lane, asyncio.Lock())

    async def ask(self, function: Function, tenant_id: UUID, lane: UUID, *arguments: object) -> Any:
        """The function's answer. It locks rows of `lane` alone, an account's: those of one call are locked by tenant
        and lane, as everybody locks several. Raises what asyncpg raises."""
        batches = self._functions.get(function)
        if batches is None:
            batches = self._functions[function] = Batches(partial(self._call, function), most=MOST, at_once=AT_ONCE)
        return await batches.ask(((tenant_id, lane), (tenant_id, *arguments)))

    async def _call(self, function: Function, asked: Sequence[_Asked]) -> Sequence[Any]:
        if len(asked) == 1:
            return [await self._pool.fetchval(function.alone, *asked[0][1])]
        order = sorted(range(len(asked)), key=lambda place: asked[place][0])
        columns = zip(*(asked[place][1] for place in order), strict=True)
        rows = await self._pool.fetch(function.many, *map(list, columns))
        answers: list[Any] = [None] * len(asked)
        for place, row in zip(order, rows, strict=True):
            answers[place] = row[0]
        return answers
