"""Keepers of keys for tests: one that counts and can be held up, wrapping what it is given to keep."""

import asyncio

from app.infra.crypto.ports import Context, KeyKeeper, Wrapped


class Watched:
    """Passes everything on to `keeper`, and counts; `pause`, when set, makes every call wait for it."""

    def __init__(self, keeper: KeyKeeper) -> None:
        self._keeper = keeper
        self.wrapped = 0
        self.unwrapped = 0
        self.pause: asyncio.Event | None = None

    async def current(self) -> str:
        return await self._keeper.current()

    async def wrap(self, key: bytes, context: Context) -> Wrapped:
        self.wrapped += 1
        if self.pause is not None:
            await self.pause.wait()
        return await self._keeper.wrap(key, context)

    async def unwrap(self, wrapped: Wrapped, context: Context) -> bytes:
        self.unwrapped += 1
        if self.pause is not None:
            await self.pause.wait()
        return await self._keeper.unwrap(wrapped, context)

    async def rotate(self) -> str:
        return await self._keeper.rotate()
