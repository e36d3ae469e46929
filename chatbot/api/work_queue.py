"""Queues for work in threads: one for API keys and one for visitors, who get at most a third of the time.

A text that an attacker makes as expensive as the deadline allows would otherwise keep a core busy for as long as they
like, and the engine's threads need all of them. Knows nothing of the work itself.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final, TypeVar

import anyio
import anyio.to_thread
from anyio import CapacityLimiter

from chatbot.engine.protocol import Lane
from shoptalk.clock import MACHINE

T = TypeVar("T")
REST: Final = 2.0  # multiple of the time a visitor's text took, for which its slot then stays empty
PACE_SHARE: Final = 0.2  # weight of the newest text in the moving average


class WorkQueue:
    """Runs work in as many threads as it has slots; the rest waits in order."""

    def __init__(self, slots: int, rest: float = 0.0) -> None:
        """`rest` is how long a slot stays empty after work, as a multiple of the time that the work took."""
        self._limiter, self._rest = CapacityLimiter(slots), rest
        self._threads = CapacityLimiter(slots)  # its own, so that it waits for nobody else's
        self._rested = [0.0] * slots  # when each free slot may be taken, by the monotonic clock
        self._pace = 0.0  # moving average of the seconds that a text takes a slot

    @property
    def count(self) -> int:
        """Return how many wait or run."""
        statistics = self._limiter.statistics()
        return statistics.tasks_waiting + statistics.borrowed_tokens

    @property
    def wait_s(self) -> float:
        """Return how long one more would wait, in seconds, by what the latest texts took."""
        rests = max(0.0, min(self._rested) - MACHINE.monotonic()) if self._rested else 0.0
        return self.count * self._pace / self._limiter.total_tokens + rests

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread once it is its turn; return its result."""
        slot = object()
        await self._limiter.acquire_on_behalf_of(slot)
        rested = heapq.heappop(self._rested)
        try:
            if (rests := rested - MACHINE.monotonic()) > 0:
                await anyio.sleep(rests)
            began = MACHINE.monotonic()
            try:
                return await anyio.to_thread.run_sync(work, limiter=self._threads)
            finally:
                took = MACHINE.monotonic() - began
                self._pace += PACE_SHARE * ((1 + self._rest) * took - self._pace)
                rested = began + (1 + self._rest) * took
        finally:
            heapq.heappush(self._rested, rested)
            self._limiter.release_on_behalf_of(slot)


def work_queues(processes: int) -> dict[Lane, WorkQueue]:
    """Return the queue of each lane: keys may use all of the processes, visitors half of them."""
    return {"keys": WorkQueue(processes), "visitors": WorkQueue(max(1, processes // 2), REST)}
