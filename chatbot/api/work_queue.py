"""Who may have texts scrubbed now: a line for keys and one for visitors, who work at most a third of the time.

A text that an attacker makes as dear as the deadline allows would otherwise keep a core busy for as long as they like,
and the engine's threads need all of them.
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
REST: Final = 2.0  # times as long as a visitor's text took, its place in the line stays empty
PACE_SHARE: Final = 0.2  # of the newest text in the pace


class Line:
    """As many as have a place run in threads, the others wait in order."""

    def __init__(self, places: int, rest: float = 0.0) -> None:
        """`rest` is how long a place stays empty after work, in times of how long that took."""
        self._limiter, self._rest = CapacityLimiter(places), rest
        self._threads = CapacityLimiter(places)  # its own, so that it waits for nobody else's
        self._rested = [0.0] * places  # when each place that is free may be taken, by the monotonic clock
        self._pace = 0.0  # seconds a place is taken for a text, of late

    @property
    def count(self) -> int:
        """How many wait or are being served."""
        statistics = self._limiter.statistics()
        return statistics.tasks_waiting + statistics.borrowed_tokens

    @property
    def wait_s(self) -> float:
        """How long one more would wait, by what texts took of late."""
        rests = max(0.0, min(self._rested) - MACHINE.monotonic()) if self._rested else 0.0
        return self.count * self._pace / self._limiter.total_tokens + rests

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns, run in a thread once it is its turn."""
        place = object()
        await self._limiter.acquire_on_behalf_of(place)
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
            self._limiter.release_on_behalf_of(place)


def lines(processes: int) -> dict[Lane, Line]:
    """With so many processes for it: keys may use all, visitors half of them."""
    return {"keys": Line(processes), "visitors": Line(max(1, processes // 2), REST)}
