"""The worker's loop: idempotent reconcilers, each at its own pace, and the rounds. Decides nothing itself.

Any reconciler may fail (Label Studio away, disk full): it is tried again with exponential backoff; the others go on. A
problem is logged when it begins and when it is over, not at every attempt between.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy.exc import SQLAlchemyError

from shoptalk.domain import new_id
from shoptalk.errors import ShoptalkError
from shoptalk.rounds.workflow import Jobs
from shoptalk.store import Store, rounds
from shoptalk.store.database import exclusively
from shoptalk.store.failures import explain

log = structlog.get_logger(__name__)
LONGEST_PAUSE_S = 60.0


@dataclass(slots=True)
class Reconciler:
    """One piece of the worker's work: `run` is called every `every_s` seconds and does what is due."""

    name: str
    every_s: float
    run: Callable[[], object]
    due: float = 0.0
    failures: int = 0
    problem: str | None = None  # as it was logged; None when it works


class Worker:
    """One worker process."""

    def __init__(self, store: Store, jobs: Jobs, reconcilers: Sequence[Reconciler]) -> None:
        self._store, self._jobs, self._machine = store, jobs, store.clock.machine
        self._reconcilers = [
            *reconcilers,
            Reconciler("rounds", 1.0, self._rounds),
            Reconciler("sweep", 30.0, jobs.sweep),
        ]
        self._stopping = threading.Event()

    def run(self) -> None:
        """Work until `stop` is called, from a signal handler or another thread."""
        self._jobs.start()
        log.info("worker started", executor=self._jobs.executor)
        try:
            while not self._stopping.is_set():
                self._stopping.wait(max(0.0, self.run_due() - self._machine.monotonic()))
        finally:
            self._jobs.stop()
            log.info("worker stopped")

    def stop(self) -> None:
        self._stopping.set()

    def run_due(self) -> float:
        """Run every reconciler that is due; return the machine time when the next one is."""
        for item in self._reconcilers:
            if self._machine.monotonic() >= item.due and not self._stopping.is_set():
                self._attempt(item)
        return min(item.due for item in self._reconcilers)

    def _attempt(self, item: Reconciler) -> None:
        try:
            item.run()
        except Exception as error:  # noqa: BLE001 - one reconciler's fault must not end the others; its type is logged
            item.failures += 1
            pause = min(LONGEST_PAUSE_S, item.every_s * 2 ** min(item.failures, 30))
            problem = error.message if isinstance(error, ShoptalkError) else type(error).__name__
            if isinstance(error, SQLAlchemyError | OSError):
                problem = explain(error).message
            if problem != item.problem:
                log.warning("reconciler failed", reconciler=item.name, problem=problem, again_in_s=round(pause, 1))
                item.problem = problem
            item.due = self._machine.monotonic() + pause
            return
        if item.failures:
            log.info("reconciler works again", reconciler=item.name, failures=item.failures)
        item.failures, item.problem = 0, None
        item.due = self._machine.monotonic() + item.every_s

    def _rounds(self) -> None:
        """Start a round for each trigger that has none, and make sure each open round's workflow exists."""
        with self._store.write() as conn:
            exclusively(conn, "rounds")  # several workers: one round at a time all the same
            waiting, unfinished = rounds.untaken_triggers(conn), rounds.unfinished(conn)
            if waiting and not unfinished:  # one round at a time: a later trigger waits for its turn
                round_id = new_id("rnd")
                rounds.open_for(conn, waiting[0], round_id)
                log.info("round started", round=round_id, trigger=waiting[0])
                unfinished = rounds.unfinished(conn)
        for item in unfinished:
            self._jobs.ensure(item.id)
