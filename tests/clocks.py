"""Clocks for tests: the present moment, and a clock that stands still until it is moved."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from shoptalk.clock import MachineTime


def now() -> datetime:
    return datetime.now(UTC)


class ManualTime:
    """Business time that a test owns. Waiting moves it on at once."""

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime(2026, 1, 5, 9, tzinfo=UTC)

    def now(self) -> datetime:
        return self._now

    def advance(self, **interval: float) -> None:
        """Move the time on. The arguments are those of `timedelta`: `hours=3`."""
        self._now += timedelta(**interval)

    def sleep_until(self, moment: datetime, stopping: threading.Event) -> bool:
        self._now = max(self._now, moment)
        return not stopping.is_set()


class AheadMachine(MachineTime):
    """Machine time that a test may move ahead."""

    ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s
