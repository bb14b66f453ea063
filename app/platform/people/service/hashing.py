"""Decides what a password costs: argon2id by OWASP's profile, on two threads, and never more waiting than is bearable.

An unknown person's password is checked against a decoy, so that being unknown takes the same time.
"""

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from app.kernel.errors import DomainError, Kind

MEMORY_KIB = 19 * 1024
THREADS = 2
WAITING = 16
Done = TypeVar("Done")


class Hasher:
    """Hashes and checks passwords. Raises `passwords_busy` when more than `waiting` wait for the threads."""

    def __init__(self, *, threads: int = THREADS, waiting: int = WAITING) -> None:
        self._hash = PasswordHash((Argon2Hasher(time_cost=2, memory_cost=MEMORY_KIB, parallelism=1),))
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="passwords")
        self._most = threads + waiting
        self._under_way = 0
        self._decoy = self._threads.submit(self._hash.hash, secrets.token_urlsafe(32))

    async def hash(self, password: str) -> str:
        """The hash to store, with its own salt and parameters."""
        return await self._run(lambda: self._hash.hash(password))

    async def verify(self, password: str, stored: str | None) -> tuple[bool, str | None]:
        """Whether `password` belongs to `stored`, and a new hash when that one's parameters are out of date.

        `None` stands for a person who does not exist: the work is the same, the answer is no.
        """

        def check() -> tuple[bool, str | None]:
            matches, renewed = self._hash.verify_and_update(password, stored or self._decoy.result())
            return (matches, renewed) if stored is not None else (False, None)

        return await self._run(check)

    async def _run(self, work: Callable[[], Done]) -> Done:
        if self._under_way >= self._most:
            raise DomainError(
                "passwords_busy", Kind.UNAVAILABLE, "Too many people are signing in at this moment. Try again shortly."
            )
        self._under_way += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        future.add_done_callback(self._finished)
        return await future

    def _finished(self, _: object) -> None:
        self._under_way -= 1

    def close(self) -> None:
        """End the threads once what they do is done."""
        self._threads.shutdown(wait=False, cancel_futures=True)
