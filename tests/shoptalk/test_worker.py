"""Lanes: a reconciler that fails waits longer and longer, the others go on, and no lane waits for another."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from labeling.pace import SparingPull
from labeling.pull import PullResult
from shoptalk.app.parts import Parts
from shoptalk.clock import MACHINE
from shoptalk.errors import LabelStudioUnavailable, ShoptalkError
from shoptalk.executors import Executors
from shoptalk.processes.heartbeat import Heartbeat
from shoptalk.processes.lanes import LONGEST_PAUSE_S, Lane, Reconciler
from shoptalk.processes.leased import Leased
from shoptalk.processes.sockets import free_port
from shoptalk.processes.worker import Worker
from shoptalk.processes.worker_metrics import WorkerMetrics, serve
from shoptalk.rounds.opener import RoundOpener
from shoptalk.rounds.workflow import Jobs
from shoptalk.settings import load_settings
from shoptalk.store import Store, rounds, triggers, workers
from shoptalk.store.labeling import samples
from tests.clocks import now
from tests.rows import sample

pytestmark = pytest.mark.slow


class NoJobs(Jobs):
    """Notes which rounds should run."""

    def __init__(self, executor: str = "here-0") -> None:
        self.ensured: list[str] = []
        self.executor = executor
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
    """Counts its calls; fails while it is asked to, and finds work for some time."""

    def __init__(self, problem: Exception | None = None, work: int = 0) -> None:
        self.calls, self.problem, self.work = 0, problem, work

    def __call__(self) -> int:
        self.calls += 1
        if self.problem:
            raise self.problem
        self.work -= self.work > 0
        return self.work


def lane(*reconcilers: Reconciler, name: str = "one", limit_s: float = 60.0) -> Lane:
    return Lane(name, reconcilers, limit_s, MACHINE)


def run_due(item: Lane) -> float:
    return item.run_due(threading.Event())


@pytest.mark.parametrize(
    "problem", [LabelStudioUnavailable(), OSError("disk full"), OperationalError("select 1", {}, Exception())]
)
def test_a_failing_reconciler_waits_longer_and_the_others_go_on(problem: Exception) -> None:
    bad, good = Busy(problem), Busy()
    failing, fine = Reconciler("bad", 10.0, bad), Reconciler("good", 0.0, good)
    both = lane(failing, fine)
    pauses = []
    for _ in range(3):
        failing.due = 0.0
        began = time.monotonic()
        run_due(both)
        pauses.append(failing.due - began)
    assert (bad.calls, good.calls) == (3, 3)
    assert pauses == [pytest.approx(20, abs=2), pytest.approx(40, abs=2), pytest.approx(LONGEST_PAUSE_S, abs=2)]
    assert list(both.state().problems) == ["bad"]
    bad.problem, failing.due = None, 0.0
    run_due(both)
    assert failing.failures == 0
    assert failing.due - time.monotonic() < 11
    assert both.state().problems == {}


def test_a_reconciler_may_fail_for_weeks() -> None:
    failing = Reconciler("bad", 0.5, Busy(LabelStudioUnavailable()), failures=5000)
    run_due(lane(failing))
    assert failing.failures == 5001


def attempts(item: Reconciler, count: int) -> list[tuple[str, str | None]]:
    """(event, problem) of what was logged meanwhile."""
    with capture_logs() as logged:
        for _ in range(count):
            item.due = 0.0
            run_due(lane(item))
    return [(line["event"], line.get("problem")) for line in logged]


def test_a_problem_is_logged_when_it_begins_and_when_it_is_over() -> None:
    work = Busy(LabelStudioUnavailable("away"))
    item = Reconciler("pull", 10.0, work)
    assert attempts(item, 50) == [("reconciler failed", "away")]
    work.problem = LabelStudioUnavailable("it took too long")
    assert attempts(item, 50) == [("reconciler failed", "it took too long")]
    work.problem = None
    assert attempts(item, 50) == [("reconciler works again", None)]
    work.problem = LabelStudioUnavailable("it took too long")
    assert attempts(item, 50) == [("reconciler failed", "it took too long")]


def test_a_label_studio_that_is_not_started_is_logged_once(tmp_path: Path) -> None:
    """The shop has pulled before, and pulls sparingly; no attempt in between may pass for a success."""
    url = f"http://127.0.0.1:{free_port()}"
    parts = Parts(load_settings(home=tmp_path, label_studio_url=url, label_studio_token="0" * 40))
    with parts.store.write() as conn:
        samples.set_project(conn, parts.settings.label_studio_project, 1, None)
    pull = SparingPull(parts.store, lambda: parts.pull)
    item = Reconciler("pull", 2.0, lambda: pull.run_once() or 0)
    logged = attempts(item, 3)
    assert [event for event, _ in logged] == ["reconciler failed"]
    assert item.failures == 3
    parts.close()


def test_a_pull_is_sparing_unless_a_round_waits(sqlite_store: Store) -> None:
    class Counted:
        calls = 0

        def run_once(self) -> PullResult:
            self.calls += 1
            return PullResult()

    puller = Counted()
    pull = SparingPull(sqlite_store, lambda: puller)
    for _ in range(5):
        pull.run_once()
    assert puller.calls == 1
    with sqlite_store.write() as conn:
        triggers.add(conn, triggers.Trigger("trg_1", "person", "asked", None, now()))
        rounds.open_for(conn, "trg_1", "rnd_1")
        rounds.move(conn, "rnd_1", "wait", "labels")
    for _ in range(5):
        pull.run_once()
    assert puller.calls == 6


def test_only_what_is_due_runs() -> None:
    work = Busy()
    one = lane(Reconciler("one", 100.0, work))
    run_due(one)
    due = run_due(one)
    assert work.calls == 1
    assert due > time.monotonic()


def test_what_found_work_runs_again_at_once_and_lets_the_others_in() -> None:
    much, little = Busy(work=4), Busy()
    both = lane(Reconciler("much", 100.0, much), Reconciler("little", 0.0, little))
    for _ in range(6):
        run_due(both)
    assert (much.calls, little.calls) == (4, 6)


def test_a_lane_that_hangs_is_seen_and_stops_no_other() -> None:
    release, went_on = threading.Event(), threading.Event()
    stuck = lane(Reconciler("report", 1.0, lambda: release.wait(30) and 0), name="watch", limit_s=0.05)
    intake = lane(Reconciler("drain", 0.01, lambda: went_on.set() or 0), name="intake")
    stopping = threading.Event()
    threads = [threading.Thread(target=each.run, args=(stopping,)) for each in (stuck, intake)]
    for thread in threads:
        thread.start()
    assert went_on.wait(10)
    time.sleep(0.1)
    state = stuck.state()
    assert (state.running, state.hangs) == ("report", True)
    assert not intake.state().hangs
    stopping.set()
    release.set()
    for thread in threads:
        thread.join(10)
    assert not stuck.state().hangs


def trigger(store: Store, *numbers: int, kind: str = "drift") -> None:
    with store.write() as conn:
        for n in numbers:
            triggers.add(conn, triggers.Trigger(f"trg_{n}", kind, "p = 0.001", None, now()))  # type: ignore[arg-type]


def opened(store: Store) -> list[tuple[str, list[str]]]:
    """(state, triggers) of the rounds, oldest first."""
    with store.read() as conn:
        return [(r.state, [t.id for t in triggers.of_round(conn, r.id)]) for r in rounds.newest(conn)[::-1]]


def test_triggers_that_wait_share_a_round(sqlite_store: Store) -> None:
    jobs = NoJobs()
    opener = RoundOpener(sqlite_store, jobs)
    opener.run_once()
    assert opened(sqlite_store) == []
    trigger(sqlite_store, 1, 2)
    opener.run_once()
    assert opened(sqlite_store) == [("running", ["trg_1", "trg_2"])]
    with sqlite_store.read() as conn:
        [first] = rounds.unfinished(conn)
    assert jobs.ensured == [first.id]


def test_a_trigger_joins_a_round_that_waits_for_labels_and_no_other(sqlite_store: Store) -> None:
    opener = RoundOpener(sqlite_store, NoJobs())
    trigger(sqlite_store, 1)
    opener.run_once()
    trigger(sqlite_store, 2)
    opener.run_once()
    assert opened(sqlite_store) == [("running", ["trg_1"])]
    with sqlite_store.write() as conn:
        [first] = rounds.unfinished(conn)
        rounds.move(conn, first.id, "wait", "labels")
    opener.run_once()
    assert opened(sqlite_store) == [("waiting", ["trg_1", "trg_2"])]
    with sqlite_store.write() as conn:
        rounds.move(conn, first.id, "step", "train")
    trigger(sqlite_store, 3)
    opener.run_once()
    with sqlite_store.write() as conn:
        rounds.move(conn, first.id, "finish", "promote")
    opener.run_once()
    assert opened(sqlite_store) == [("done", ["trg_1", "trg_2"]), ("running", ["trg_3"])]


def test_a_budget_of_labels_holds_rounds_back_that_need_people(sqlite_store: Store) -> None:
    opener = RoundOpener(sqlite_store, NoJobs(), budget=2)
    with sqlite_store.write() as conn:
        samples.add(conn, sample("smp_1"), sample("smp_2"))
    trigger(sqlite_store, 1, kind="schedule")
    opener.run_once()
    assert opened(sqlite_store) == []
    trigger(sqlite_store, 2, kind="labels")
    opener.run_once()
    assert opened(sqlite_store) == [("running", ["trg_2"])]
    RoundOpener(sqlite_store, NoJobs(), budget=3).run_once()
    assert opened(sqlite_store) == [("running", ["trg_2"])]


def run_in_thread(worker: Worker) -> tuple[threading.Thread, list[Exception]]:
    problems: list[Exception] = []

    def run() -> None:
        try:
            worker.run()
        except ShoptalkError as error:
            problems.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, problems


def test_a_worker_runs_its_lanes_until_it_is_stopped(sqlite_store: Store, tmp_path: Path) -> None:
    jobs, ran = NoJobs(), threading.Event()
    heartbeat = Heartbeat(Executors(tmp_path / "executors"))
    worker = Worker(sqlite_store, jobs, [lane(Reconciler("work", 0.01, lambda: ran.set() or 0))], heartbeat)
    thread, problems = run_in_thread(worker)
    assert ran.wait(10)
    assert jobs.running
    assert alive(sqlite_store)
    worker.stop()
    thread.join(20)
    assert (thread.is_alive(), jobs.running, problems) == (False, False, [])
    assert not alive(sqlite_store)


def test_a_worker_that_cannot_write_its_file_is_alive_for_the_others(sqlite_store: Store, tmp_path: Path) -> None:
    """As on a full disk; else they would take over what it still does."""
    (tmp_path / "executors").touch()  # no folder can be made here
    heartbeat = Heartbeat(Executors(tmp_path / "executors"))
    worker = Worker(sqlite_store, NoJobs(), [lane(Reconciler("work", 1.0, Busy()))], heartbeat)
    with capture_logs() as logged:
        thread, problems = run_in_thread(worker)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and not alive(sqlite_store):
            time.sleep(0.05)
        assert alive(sqlite_store)
        worker.stop()
        thread.join(20)
    assert problems == []
    assert [line["event"] for line in logged].count("no sign of life written") == 1


def alive(store: Store) -> bool:
    with store.read() as conn:
        return workers.is_alive(conn, "here-0", timedelta(seconds=30))


def test_of_two_workers_one_does_leased_work_and_the_other_when_that_is_gone(store: Store) -> None:
    silent, done = timedelta(seconds=30), []

    def work(name: str) -> Callable[[], int]:
        return lambda: done.append(name) or 1  # type: ignore[func-returns-value]

    one, two = (Leased(store, "push", lambda name=name: name, silent, work(name)) for name in ("one", "two"))  # type: ignore[misc]
    with store.write() as conn:
        for worker in ("one", "two"):
            workers.beat(conn, worker)
    assert [one(), two(), one(), two()] == [1, None, 1, None]
    with store.write() as conn:
        workers.forget(conn, "one")
    assert [two(), one()] == [1, None]
    assert done == ["one", "one", "two"]


def test_metrics_say_what_lanes_do_and_how_much_waits(sqlite_store: Store) -> None:
    port = free_port()
    bad = lane(Reconciler("push", 100.0, Busy(LabelStudioUnavailable())), name="people")
    run_due(bad)
    stop = serve(WorkerMetrics(lambda: [bad.state()], lambda: {"inbox": 3}), "127.0.0.1", port)
    try:
        said = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
        again = serve(WorkerMetrics(lambda: [], lambda: {}), "127.0.0.1", port)  # the port is taken
        again()
    finally:
        stop()
    assert 'shoptalk_lane_failing{lane="people"} 1.0' in said
    assert 'shoptalk_lane_hangs{lane="people"} 0.0' in said
    assert 'shoptalk_waiting{what="inbox"} 3.0' in said
