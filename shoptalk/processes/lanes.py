"""A worker's lanes: each is one thread with reconcilers of its own, so that no lane waits for another.

A reconciler is idempotent and may fail (Label Studio away, disk full): it is tried again with exponential backoff, and
the others of its lane go on. A problem is logged when it begins and when it is over, not at every attempt between.
Knows no store and decides nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from shoptalk.clock import MachineTime
from shoptalk.store.failures import in_words

log = structlog.get_logger(__name__)
LONGEST_PAUSE_S: Final = 60.0


@dataclass(slots=True)
class Reconciler:
    """One piece of a lane's work. `run` is called every `every_s` seconds, or at once where it found work to do."""

    name: str
    every_s: float
    #: does what is due, at most for some seconds; returns whether there may be more, as a number or a bool
    run: Callable[[], int | None]
    #: machine time at which it runs next
    due: float = 0.0
    #: how many times in a row it failed
    failures: int = 0
    #: as it was logged; None when it works
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class LaneState:
    """What a lane does at one moment. Times are seconds."""

    name: str
    #: since a reconciler last ended, or since the lane started
    idle_s: float
    #: the reconciler that runs now; None between them
    running: str | None
    #: how long it has run
    running_s: float
    #: whether it runs for longer than the lane allows
    hangs: bool
    #: why reconcilers fail, by name
    problems: Mapping[str, str] = field(default_factory=dict)


class Lane:
    """One thread's reconcilers, in turn. `limit_s` is how long one may run before the lane counts as hanging."""

    def __init__(self, name: str, reconcilers: Sequence[Reconciler], limit_s: float, machine: MachineTime) -> None:
        self.name, self.reconcilers = name, list(reconcilers)
        self._limit, self._machine = limit_s, machine
        self._ended = machine.monotonic()
        self._running: tuple[str, float] | None = None

    def run(self, stopping: threading.Event) -> None:
        """Work until `stopping` is set."""
        while not stopping.is_set():
            stopping.wait(max(0.0, self.run_due(stopping) - self._machine.monotonic()))

    def run_due(self, stopping: threading.Event) -> float:
        """Run each reconciler that is due once; return the machine time when the next one is."""
        for item in self.reconcilers:
            if self._machine.monotonic() >= item.due and not stopping.is_set():
                self._running = item.name, self._machine.monotonic()
                self._attempt(item, stopping)
                self._running, self._ended = None, self._machine.monotonic()
        return min(item.due for item in self.reconcilers)

    def state(self) -> LaneState:
        """Return what the lane does now; may be called from another thread."""
        now, running = self._machine.monotonic(), self._running
        for_s = now - running[1] if running else 0.0
        return LaneState(
            self.name,
            now - self._ended,
            running[0] if running else None,
            for_s,
            for_s > self._limit,
            {item.name: item.problem for item in self.reconcilers if item.problem},
        )

    def _attempt(self, item: Reconciler, stopping: threading.Event) -> None:
        try:
            more = item.run()
        except Exception as error:  # noqa: BLE001 - one reconciler's fault must not end the others; its type is logged
            if not stopping.is_set():  # else it broke because the worker ends
                self._note(item, error)
            return
        if item.failures:
            log.info("reconciler works again", lane=self.name, reconciler=item.name, failures=item.failures)
        item.failures, item.problem = 0, None
        item.due = self._machine.monotonic() + (0.0 if more else item.every_s)

    def _note(self, item: Reconciler, error: Exception) -> None:
        item.failures += 1
        pause = min(LONGEST_PAUSE_S, item.every_s * 2 ** min(item.failures, 30))
        problem = in_words(error)
        if problem != item.problem:
            log.warning(
                "reconciler failed", lane=self.name, reconciler=item.name, problem=problem, again_in_s=round(pause, 1)
            )
            item.problem = problem
        item.due = self._machine.monotonic() + pause
