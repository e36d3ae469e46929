"""The worker's loop: a reconciler that fails waits longer and longer, and the others go on."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from shoptalk.app.parts import Parts
from shoptalk.app.worker import SparingPull
from shoptalk.errors import LabelStudioUnavailable
from shoptalk.processes.sockets import free_port
from shoptalk.processes.worker import LONGEST_PAUSE_S, Reconciler, Worker
from shoptalk.rounds.workflow import Jobs
from shoptalk.settings import load_settings
from shoptalk.store import Store, rounds
from shoptalk.store.labeling import samples
from shoptalk.store.monitoring import triggers
from tests.clocks import now

pytestmark = pytest.mark.slow


class NoJobs(Jobs):
    """Notes which rounds should run."""

    def __init__(self) -> None:
        self.ensured: list[str] = []
        self.executor = "here-0"
        self.running = False

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False

    def ensure(self, round_id: str) -> None:
        self.ensured.append(round_id)

    def sweep(self) -> int:
        return 0


class Busy:
    """Counts its calls; fails while it is asked to."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.calls, self.problem = 0, problem

    def __call__(self) -> None:
        self.calls += 1
        if self.problem:
            raise self.problem


@pytest.mark.parametrize(
    "problem", [LabelStudioUnavailable(), OSError("disk full"), OperationalError("select 1", {}, Exception())]
)
def test_a_failing_reconciler_waits_longer_and_the_others_go_on(sqlite_store: Store, problem: Exception) -> None:
    bad, good = Busy(problem), Busy()
    failing, fine = Reconciler("bad", 10.0, bad), Reconciler("good", 0.0, good)
    worker = Worker(sqlite_store, NoJobs(), [failing, fine])
    pauses = []
    for _ in range(3):
        failing.due = 0.0
        began = time.monotonic()
        worker.run_due()
        pauses.append(failing.due - began)
    assert (bad.calls, good.calls) == (3, 3)
    assert pauses == [pytest.approx(20, abs=2), pytest.approx(40, abs=2), pytest.approx(LONGEST_PAUSE_S, abs=2)]
    bad.problem, failing.due = None, 0.0
    worker.run_due()
    assert failing.failures == 0
    assert failing.due - time.monotonic() < 11


def test_a_reconciler_may_fail_for_weeks(sqlite_store: Store) -> None:
    failing = Reconciler("bad", 0.5, Busy(LabelStudioUnavailable()), failures=5000)
    Worker(sqlite_store, NoJobs(), [failing]).run_due()
    assert failing.failures == 5001


def attempts(worker: Worker, item: Reconciler, count: int) -> list[tuple[str, str | None]]:
    """(event, problem) of what was logged meanwhile."""
    with capture_logs() as logged:
        for _ in range(count):
            item.due = 0.0
            worker.run_due()
    return [(line["event"], line.get("problem")) for line in logged]


def test_a_problem_is_logged_when_it_begins_and_when_it_is_over(sqlite_store: Store) -> None:
    work = Busy(LabelStudioUnavailable("away"))
    item = Reconciler("pull", 10.0, work)
    worker = Worker(sqlite_store, NoJobs(), [item])
    assert attempts(worker, item, 50) == [("reconciler failed", "away")]
    work.problem = LabelStudioUnavailable("it took too long")
    assert attempts(worker, item, 50) == [("reconciler failed", "it took too long")]
    work.problem = None
    assert attempts(worker, item, 50) == [("reconciler works again", None)]
    work.problem = LabelStudioUnavailable("it took too long")
    assert attempts(worker, item, 50) == [("reconciler failed", "it took too long")]


def test_a_label_studio_that_is_not_started_is_logged_once(tmp_path: Path) -> None:
    """The shop has pulled before, and pulls sparingly; no attempt in between may pass for a success."""
    url = f"http://127.0.0.1:{free_port()}"
    parts = Parts(load_settings(home=tmp_path, label_studio_url=url, label_studio_token="0" * 40))
    with parts.store.write() as conn:
        samples.set_project(conn, parts.settings.label_studio_project, 1, None)
    item = Reconciler("pull", 2.0, SparingPull(parts).run_once)
    worker = Worker(parts.store, NoJobs(), [item])
    logged = attempts(worker, item, 3)
    assert [event for event, _ in logged] == ["reconciler failed"]
    assert item.failures == 3
    parts.close()


def test_only_what_is_due_runs(sqlite_store: Store) -> None:
    work = Busy()
    worker = Worker(sqlite_store, NoJobs(), [Reconciler("one", 100.0, work)])
    worker.run_due()
    due = worker.run_due()
    assert work.calls == 1
    assert due > time.monotonic()


def test_triggers_become_rounds_one_after_the_other(sqlite_store: Store) -> None:
    jobs = NoJobs()
    worker = Worker(sqlite_store, jobs, [])
    with sqlite_store.write() as conn:
        for n in (1, 2):
            triggers.add(conn, triggers.Trigger(f"trg_{n}", "drift", "p = 0.001", None, now()))
    worker.run_due()
    with sqlite_store.write() as conn:
        (first,) = rounds.unfinished(conn)
        assert (first.trigger_id, rounds.untaken_triggers(conn)) == ("trg_1", ["trg_2"])
        assert jobs.ensured == [first.id]
        rounds.move(conn, first.id, "finish", "promote")
    Worker(sqlite_store, jobs, []).run_due()
    with sqlite_store.read() as conn:
        (second,) = rounds.unfinished(conn)
    assert (second.trigger_id, jobs.ensured) == ("trg_2", [first.id, second.id])


def test_a_worker_runs_until_it_is_stopped(sqlite_store: Store, tmp_path: Path) -> None:
    jobs = NoJobs()
    stopping = Reconciler("stop", 0.0, Busy())
    worker = Worker(sqlite_store, jobs, [stopping])
    stopping.run = worker.stop
    worker.run()
    assert not jobs.running
