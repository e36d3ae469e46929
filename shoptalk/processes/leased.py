"""Work that only one of several workers does at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from shoptalk.store import Store, workers


@dataclass(frozen=True, slots=True)
class Leased:
    """Runs `work` where this worker holds the lease `name`, or can take it: its holder is gone, or there is none."""

    store: Store
    name: str
    #: returns this worker's id, which it has once it has started
    worker: Callable[[], str]
    #: after how long without a sign of life a holder counts as gone
    silent: timedelta
    work: Callable[[], int | None]

    def __call__(self) -> int | None:
        """Return what the work returned; None where another worker does it."""
        worker = self.worker()
        with self.store.read() as conn:
            held = workers.holds(conn, self.name, worker)
        if not held:
            with self.store.write() as conn:
                held = workers.take(conn, self.name, worker, self.silent)
        return self.work() if held else None
