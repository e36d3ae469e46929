"""The only readers of the system's clock. A `Clock` has two faces; the store carries it to whoever has the store.

*Business time* stamps rows and decides what is due by the calendar: how long a round waits for labels, whether a
schedule has come. A simulation may own it. *Machine time* is for what happens to processes: deadlines, leases,
heartbeats, back-off and pauses. It is always real, also in a simulation, so what has no store uses `MACHINE`, the one
there is. Durations that are only measured come from `time.perf_counter`.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol


class BusinessTime(Protocol):
    """The shop's calendar time."""

    def now(self) -> datetime:
        """Return the present time, timezone-aware UTC."""
        ...

    def sleep_until(self, moment: datetime, stopping: threading.Event) -> bool:
        """Wait until `moment`, or until `stopping` is set; return whether the moment came."""
        ...


class SystemTime:
    """Business time read from the system's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep_until(self, moment: datetime, stopping: threading.Event) -> bool:
        while (left := (moment - self.now()).total_seconds()) > 0:
            if stopping.wait(min(left, 60.0)):  # the system's clock may be set meanwhile
                return False
        return True


class MachineTime:
    """Real time of this machine, for what happens to its processes."""

    def monotonic(self) -> float:
        """Return seconds that never go back, for deadlines within a process."""
        return time.monotonic()

    def now(self) -> datetime:
        """Return the wall clock's time, UTC, for leases and heartbeats that other processes read."""
        return datetime.now(UTC)

    def unix(self) -> float:
        """Return `now` in seconds since 1970."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Pause this thread."""
        time.sleep(seconds)


MACHINE: Final = MachineTime()


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Business time and machine time together; each process makes one."""

    #: what rows are stamped with and schedules go by
    business: BusinessTime = field(default_factory=SystemTime)
    #: deadlines, leases, heartbeats and pauses
    machine: MachineTime = MACHINE
