"""A worker process: its lanes as threads, its signs of life, and the executor of its rounds. Decides nothing itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from shoptalk.errors import ShoptalkError
from shoptalk.processes.heartbeat import Heartbeat
from shoptalk.processes.lanes import Lane, LaneState
from shoptalk.rounds.workflow import Jobs
from shoptalk.store import Store, workers
from shoptalk.store.failures import explain

log = structlog.get_logger(__name__)
BEAT_S: Final = 5.0
PATIENCE_S: Final = 10.0  # how long a stopping worker waits for its lanes


class Worker:
    """Runs lanes until it is stopped. Other workers, on this host or others, may run beside it."""

    def __init__(
        self,
        store: Store,
        jobs: Jobs,
        lanes: Sequence[Lane],
        heartbeat: Heartbeat,
        serve_metrics: Callable[[Worker], Callable[[], None]] = lambda _: lambda: None,
    ) -> None:
        """`serve_metrics` is called when the worker starts, and what it returns when it stops."""
        self._store, self._jobs, self._lanes, self._heartbeat = store, jobs, list(lanes), heartbeat
        self._serve_metrics = serve_metrics
        self._stopping = threading.Event()
        self._problems: list[str] = []  # why the last signs of life could not be written

    def run(self) -> None:
        """Work until `stop` is called, from a signal handler or another thread. Raises where a lane's thread ends."""
        self._jobs.start()
        self._beat()
        threads = [
            threading.Thread(target=lane.run, args=(self._stopping,), name=f"lane {lane.name}", daemon=True)
            for lane in self._lanes
        ]
        for thread in threads:
            thread.start()
        stop_metrics = self._serve_metrics(self)
        log.info("worker started", executor=self._jobs.executor, lanes=[lane.name for lane in self._lanes])
        try:
            while not self._stopping.wait(BEAT_S):
                self._beat()
                if ended := [thread.name for thread in threads if not thread.is_alive()]:
                    raise ShoptalkError(f"{', '.join(ended)} ended", fix="start the worker again")
        finally:
            self._stopping.set()
            for thread in threads:
                thread.join(PATIENCE_S / len(threads))
            stop_metrics()
            self._jobs.stop()
            self._leave()
            log.info("worker stopped")

    def stop(self) -> None:
        self._stopping.set()

    def states(self) -> list[LaneState]:
        """Return what each lane does now."""
        return [lane.state() for lane in self._lanes]

    def _beat(self) -> None:
        """Give a sign of life to this host's checks, and to the workers of all hosts; one may fail alone."""
        problems = [problem for write in (self._beat_here, self._beat_everywhere) if (problem := _attempt(write))]
        if problems != self._problems:
            for problem in problems:
                log.warning("no sign of life written", problem=problem)
            self._problems = problems

    def _beat_here(self) -> None:
        self._heartbeat.beat(self._jobs.executor, self.states())

    def _beat_everywhere(self) -> None:
        with self._store.write() as conn:
            workers.beat(conn, self._jobs.executor)

    def _leave(self) -> None:
        """Free what this worker holds, so that the others need not wait until it is silent for long."""
        for take_back in (self._leave_here, self._leave_everywhere):
            if problem := _attempt(take_back):
                log.warning("leases not freed; others take them over in time", problem=problem)

    def _leave_here(self) -> None:
        self._heartbeat.stop(self._jobs.executor)

    def _leave_everywhere(self) -> None:
        with self._store.write() as conn:
            workers.forget(conn, self._jobs.executor)


def _attempt(write: Callable[[], None]) -> str | None:
    """Return why it failed; None where it did not."""
    try:
        write()
    except (SQLAlchemyError, OSError) as error:
        return explain(error).message
    return None
