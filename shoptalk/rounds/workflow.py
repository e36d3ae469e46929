"""Durable rounds. The only module that knows DBOS (github.com/dbos-inc/dbos-transact-py).

A round is one workflow whose id is the round's; each step is checkpointed when it returns, so a killed process
resumes at the step it was in. Workflow state holds ids and numbers as JSON, never text, in a database of its
own. An executor id belongs to one process at a time, guarded by a file lock; `sweep` takes over what a dead
executor left.
"""

from __future__ import annotations

import fcntl
import json
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Protocol

import structlog
from dbos import DBOS, DBOSConfig, Serializer, SetWorkflowID
from dbos import error as dbos_errors

from shoptalk.errors import ConfigurationError, ShoptalkError

log = structlog.get_logger(__name__)
DEAD = ("ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")
OPEN = ("PENDING", "ENQUEUED")
VERSION = "round-2"  # changes only when the sequence of steps does
MAX_WORKERS = 64
ATTEMPTS = 3
FIRST_WAIT_S, LONGEST_WAIT_S, WAIT_GROWTH = 1.0, 60.0, 1.3


class Steps(Protocol):
    """The steps of a round, in their order; `shoptalk.rounds.steps` implements them."""

    @property
    def names(self) -> tuple[str, ...]: ...

    def run(self, name: str, round_id: str) -> Mapping[str, Any]:
        """Run a step, which takes effect once per round.

        Return its result: `{"wait": True}` asks to be called again, `{"end": ...}` ends the round.
        """
        ...

    def finish(self, round_id: str, outcome: str, problem: str | None) -> None:
        """Record how the round ended; `problem` says why it failed."""
        ...


class _Stopped(BaseException):
    """This process stops and leaves the round as it is. No Exception: DBOS would record one as the round's end."""


class JsonSerializer(Serializer):
    """Stores workflow state as JSON. An exception keeps its type's name, and a ShoptalkError its message."""

    def serialize(self, data: Any) -> str:
        if isinstance(data, BaseException):
            data = _cause(data)
            text = data.message if isinstance(data, ShoptalkError) else ""
            data = {"error": type(data).__name__, "message": text}
        return json.dumps(data)

    def deserialize(cls, serialized_data: str) -> Any:
        data = json.loads(serialized_data)
        if isinstance(data, dict) and data.keys() == {"error", "message"}:
            return ShoptalkError(f"{data['error']}: {data['message']}")
        return data

    def name(self) -> str:
        return "shoptalk_json"


class Jobs:
    """Runs rounds in this process. One instance per process, since DBOS itself is global."""

    def __init__(self, url: str, locks: Path, steps: Steps) -> None:
        self._locks, self._steps = locks, steps
        self._lock: IO[str] | None = None
        self._url = url.replace("postgresql+psycopg://", "postgresql://")
        self._workflow: Callable[[str], str] | None = None
        self._stopping = threading.Event()

    def start(self) -> None:
        """Take an executor id, then resume what it left unfinished."""
        self.executor, self._lock = _take_executor(self._locks)
        config: DBOSConfig = {
            "name": "shoptalk",
            "system_database_url": self._url,
            "application_version": VERSION,
            "executor_id": self.executor,
            "serializer": JsonSerializer(),
            "log_level": "ERROR",
            "enable_otlp": False,
            "use_listen_notify": False,
        }
        DBOS(config=config)
        self._workflow = self._register()
        DBOS.launch()
        self.sweep()

    def stop(self) -> None:
        """Abandon the step in progress. It resumes at the next start, as after a kill."""
        self._stopping.set()
        DBOS.destroy(destroy_registry=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def ensure(self, round_id: str) -> None:
        """Start the round's workflow unless it was started before."""
        assert self._workflow is not None
        found = DBOS.list_workflows(workflow_ids=[round_id], load_input=False, load_output=False)
        if not found:
            with SetWorkflowID(round_id):
                DBOS.start_workflow(self._workflow, round_id)
        elif found[0].status in DEAD:
            self._steps.finish(round_id, "failed", f"its workflow ended as {found[0].status}")
        elif found[0].app_version != VERSION and found[0].status in OPEN:
            log.info("round restarted", round=round_id, version=found[0].app_version)
            DBOS.delete_workflow(round_id)  # of an older shoptalk; the results of its steps are rows, and stay
            with SetWorkflowID(round_id):
                DBOS.start_workflow(self._workflow, round_id)

    def sweep(self) -> int:
        """Resume rounds whose executor is gone (its lock is free); return how many."""
        taken = 0
        for status in DBOS.list_workflows(status="PENDING", app_version=VERSION, load_input=False, load_output=False):
            owner = status.executor_id or ""
            if owner != self.executor and _is_free(self._locks / f"{owner}.lock"):
                log.info("round taken over", round=status.workflow_id, executor=owner)
                DBOS.resume_workflow(status.workflow_id)
                taken += 1
        return taken

    def _until_done(self, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Call a step, with exponential backoff, until it does not wait any more; return its result.

        A step that has waited may fail a few times in a row; it raises the last time.
        """
        pause, failures, waited = FIRST_WAIT_S, 0, False
        while True:
            try:
                result = run()
            except Exception as error:
                failures += 1
                if not waited or failures == ATTEMPTS:
                    raise
                log.warning("a waiting step failed; trying again", problem=type(error).__name__)
            else:
                if not result.get("wait"):
                    return result
                failures, waited = 0, True
            if self._stopping.wait(pause):
                raise _Stopped
            pause = min(LONGEST_WAIT_S, pause * WAIT_GROWTH)

    def _register(self) -> Callable[[str], str]:
        steps = self._steps

        @DBOS.step(name="round_step", retries_allowed=True, max_attempts=ATTEMPTS, interval_seconds=2.0)
        def step(name: str, round_id: str) -> dict[str, Any]:
            return self._until_done(lambda: dict(steps.run(name, round_id)))

        @DBOS.step(name="round_finish", retries_allowed=True, max_attempts=5)
        def finish(round_id: str, outcome: str, problem: str | None) -> None:
            steps.finish(round_id, outcome, problem)

        @DBOS.workflow(name="round", max_recovery_attempts=None)  # it may wait for labels through many restarts
        def round_(round_id: str) -> str:
            try:
                outcome = _go_through(steps.names, step, round_id)
            except Exception as wrapped:  # noqa: BLE001 - DBOS wraps what a step raised; the round says what it was
                if self._stopping.is_set():  # what was under way broke because DBOS is gone
                    raise _Stopped from None
                error = _cause(wrapped)
                problem = error.message if isinstance(error, ShoptalkError) else type(error).__name__
                log.error("round failed", round=round_id, problem=problem)
                finish(round_id, "failed", problem[:800])
                return "failed"
            finish(round_id, outcome, None)
            return outcome

        return round_


def _cause(error: BaseException) -> BaseException:
    """Return the exception of a step's last attempt."""
    return error.errors[-1] if isinstance(error, dbos_errors.DBOSMaxStepRetriesExceeded) and error.errors else error


def _go_through(names: tuple[str, ...], step: Callable[[str, str], dict[str, Any]], round_id: str) -> str:
    for name in names:
        result = step(name, round_id)
        if "end" in result:
            return str(result["end"])
    return "done"


def _take_executor(locks: Path) -> tuple[str, IO[str]]:
    locks.mkdir(parents=True, exist_ok=True)
    host = socket.gethostname()
    for number in range(MAX_WORKERS):
        name = f"{host}-{number}"
        handle = (locks / f"{name}.lock").open("w")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.close()
            continue
        return name, handle
    raise ConfigurationError(f"{MAX_WORKERS} workers already run on this machine")


def _is_free(path: Path) -> bool:
    """Return whether no process holds the lock. One of another machine, without a file here, counts as alive."""
    if not path.exists():
        return False
    with path.open("r+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
