"""Durable rounds. The only module that knows DBOS (github.com/dbos-inc/dbos-transact-py).

A round is one workflow whose id is the round's; each step is checkpointed when it returns, so a killed process
resumes at the step it was in. Workflow state holds ids and numbers as JSON, never text, in a database of its
own. `sweep` takes over what an executor left that is gone.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Mapping
from typing import IO, Any, Protocol

import structlog
from dbos import DBOS, DBOSConfig, Serializer, SetWorkflowID
from sqlalchemy.exc import SQLAlchemyError

from shoptalk.errors import ShoptalkError
from shoptalk.executors import Executors
from shoptalk.rounds.failures import kind_of
from shoptalk.store.failures import in_words

log = structlog.get_logger(__name__)
OPEN = ("PENDING", "ENQUEUED")
VERSION = "round-3"  # changes only when the sequence of steps does
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

    def stumble(self, name: str, round_id: str, problem: str) -> None:
        """Record why a step failed that is tried again."""
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

    def __init__(self, url: str, executors: Executors, steps: Steps, is_alive: Callable[[str], bool]) -> None:
        """`is_alive` returns whether an executor of another host gave a sign of life lately."""
        self._executors, self._steps, self._is_alive = executors, steps, is_alive
        self._lock: IO[str] | None = None
        self._url = url.replace("postgresql+psycopg://", "postgresql://")
        self._workflow: Callable[[str], str] | None = None
        self._stopping = threading.Event()

    def start(self) -> None:
        """Take an executor id, then resume what it left unfinished."""
        self.executor, self._lock = self._executors.take()
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
        """Start the workflow of a round that is not finished, unless it is under way.

        One that ended without finishing the round broke with its own database; as the results of its steps are rows, a
        new one goes on where it was. So does one of another version.
        """
        assert self._workflow is not None
        found = DBOS.list_workflows(workflow_ids=[round_id], load_input=False, load_output=False)
        if not found:
            with SetWorkflowID(round_id):
                DBOS.start_workflow(self._workflow, round_id)
        elif found[0].status not in OPEN or found[0].app_version != VERSION:
            log.info("round restarted", round=round_id, was=found[0].status, version=found[0].app_version)
            DBOS.delete_workflow(round_id)
            with SetWorkflowID(round_id):
                DBOS.start_workflow(self._workflow, round_id)

    def sweep(self) -> int:
        """Resume rounds whose executor is gone: its lock is free, or there is none here and it is silent.

        Return how many.
        """
        taken = 0
        for status in DBOS.list_workflows(status="PENDING", app_version=VERSION, load_input=False, load_output=False):
            owner = status.executor_id or ""
            if owner and owner != self.executor and not self._runs(owner):  # none: it was resumed a moment ago
                log.info("round taken over", round=status.workflow_id, executor=owner)
                DBOS.resume_workflow(status.workflow_id)
                taken += 1
        return taken

    def _runs(self, executor: str) -> bool:
        here = self._executors.runs(executor)
        return self._is_alive(executor) if here is None else here

    def _until_done(
        self, run: Callable[[], dict[str, Any]], stumble: Callable[[str], None] = lambda _: None
    ) -> dict[str, Any]:
        """Call a step, with exponential backoff, until it does not wait any more; return its result.

        A failure that may pass is waited for; `stumble` is called with it when it begins. Raises one that will fail
        again at once, any other at the last attempt.
        """
        pause, failures, problem = FIRST_WAIT_S, 0, ""
        while True:
            try:
                result = run()
            except Exception as error:
                kind = kind_of(error)
                failures += kind == "unknown"
                if self._stopping.is_set() or kind == "final" or failures == ATTEMPTS:
                    raise
                if (said := in_words(error)) != problem:
                    problem = said
                    log.warning("a step failed; trying again", problem=problem, again_in_s=round(pause, 1))
                    with contextlib.suppress(SQLAlchemyError):  # where that is what failed
                        stumble(problem)
            else:
                if not result.get("wait"):
                    return result
                failures, problem = 0, ""
            if self._stopping.wait(pause):
                raise _Stopped
            pause = min(LONGEST_WAIT_S, pause * WAIT_GROWTH)

    def _register(self) -> Callable[[str], str]:
        steps = self._steps

        @DBOS.step(name="round_step")
        def step(name: str, round_id: str) -> dict[str, Any]:
            return self._until_done(
                lambda: dict(steps.run(name, round_id)), lambda problem: steps.stumble(name, round_id, problem)
            )

        @DBOS.step(name="round_finish")
        def finish(round_id: str, outcome: str, problem: str | None) -> None:
            def run() -> dict[str, Any]:
                steps.finish(round_id, outcome, problem)
                return {}

            self._until_done(run)

        @DBOS.workflow(name="round", max_recovery_attempts=None)  # it may wait for labels through many restarts
        def round_(round_id: str) -> str:
            try:
                outcome = _go_through(steps.names, step, round_id)
            except Exception as error:  # noqa: BLE001 - whatever it was, the round says why it failed
                if self._stopping.is_set():  # what was under way broke because DBOS is gone
                    raise _Stopped from None
                problem = in_words(error)
                log.error("round failed", round=round_id, problem=problem)
                finish(round_id, "failed", problem[:800])
                return "failed"
            finish(round_id, outcome, None)
            return outcome

        return round_


def _go_through(names: tuple[str, ...], step: Callable[[str, str], dict[str, Any]], round_id: str) -> str:
    for name in names:
        result = step(name, round_id)
        if "end" in result:
            return str(result["end"])
    return "done"
