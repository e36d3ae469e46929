"""Probes whose result is shared by all requests that ask for it at the same time. Knows not what is probed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

import anyio.to_thread

T = TypeVar("T")


class SharedProbe(Generic[T]):
    """Runs `find` once at a time, whatever the number of requests; each gets a result that was begun after it asked."""

    def __init__(self, find: Callable[[], T]) -> None:
        self._find = find
        self._running: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """Return the result of the next run of `find`."""
        if self._running is None or self._running.done():
            self._running = self._next = asyncio.create_task(self._run())
        elif self._next is None or self._next is self._running or self._next.done():
            self._next = asyncio.create_task(self._after(self._running))
        return await asyncio.shield(self._next)

    async def _run(self) -> T:
        return await anyio.to_thread.run_sync(self._find)

    async def _after(self, before: asyncio.Task[T]) -> T:
        await asyncio.wait([before])
        self._running = asyncio.current_task()
        return await self._run()
