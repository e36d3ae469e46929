"""The worker built from Settings: its lanes, and what it tells a monitoring system."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from shoptalk.app.parts import Parts, label_studio_token
from shoptalk.app.rounds import StageWork
from shoptalk.executors import Executors
from shoptalk.settings import Settings
from shoptalk.store import Store, erasures, rounds, workers
from shoptalk.store.ingest import feature_queue, inbox
from shoptalk.store.labeling import samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from shoptalk.processes.heartbeat import Heartbeat
    from shoptalk.processes.lanes import Lane
    from shoptalk.processes.leased import Leased
    from shoptalk.processes.worker import Worker
    from shoptalk.rounds.workflow import Jobs

GONE = timedelta(days=1)


def build_worker(settings: Settings) -> Worker:
    """Build the worker: lanes for what comes in, annotators, drift, erasures and rounds."""
    from shoptalk.processes.worker import Worker
    from shoptalk.processes.worker_metrics import WorkerMetrics, serve
    from shoptalk.rounds.steps import RoundPlan, RoundSteps
    from shoptalk.rounds.workflow import Jobs

    parts = Parts(settings)
    plan = RoundPlan(settings.labels_wanted, settings.labels_wait_s, settings.auto_promote)
    silent = timedelta(seconds=settings.takeover_s)

    def is_alive(executor: str) -> bool:
        with parts.store.read() as conn:
            return workers.is_alive(conn, executor, silent)

    steps = RoundSteps(parts.store, StageWork(parts), plan)
    jobs = Jobs(settings.jobs_database, executors(settings), steps, is_alive)
    lanes = build_lanes(parts, jobs)

    def serve_metrics(worker: Worker) -> Callable[[], None]:
        if not settings.worker_port:
            return lambda: None
        metrics = WorkerMetrics(worker.states, lambda: waiting(parts.store))
        return serve(metrics, settings.worker_host, settings.worker_port)

    return Worker(parts.store, jobs, lanes, heartbeat(settings), serve_metrics)


def build_lanes(parts: Parts, jobs: Jobs) -> list[Lane]:
    """Build the lanes: what comes in, annotators, drift, erasures and rounds."""
    made = _Lanes(parts, jobs, timedelta(seconds=parts.settings.takeover_s))
    return [made.intake(), made.features(), made.people(), made.watch(), made.care(), made.rounds()]


def executors(settings: Settings) -> Executors:
    """Return the ids of workers with this data folder."""
    return Executors(settings.home / "executors")


def heartbeat(settings: Settings) -> Heartbeat:
    """Return the signs of life of this host's workers."""
    from shoptalk.processes.heartbeat import Heartbeat

    return Heartbeat(executors(settings))


class _Lanes:
    """Makes the lanes. What several workers share by claims needs no lease; the rest one worker does at a time."""

    def __init__(self, parts: Parts, jobs: Jobs, silent: timedelta) -> None:
        self._parts, self._jobs, self._silent = parts, jobs, silent
        self._machine = parts.store.clock.machine

    def intake(self) -> Lane:
        """What customers and imports bring: admission, and nothing that could make it wait."""
        from ingest.inbox.drain import Drain
        from shoptalk.processes.lanes import Lane, Reconciler

        drain = Drain(self._parts.store, self._parts.secrets, self._parts.scrubber)
        return Lane("intake", [Reconciler("drain", 0.5, lambda: bool(drain.run_once()))], 120.0, self._machine)

    def features(self) -> Lane:
        """Features, near-duplicates and topics of admitted messages; apart, since their models load for seconds."""
        from ingest.features.computer import FeatureComputer
        from shoptalk.processes.lanes import Lane, Reconciler

        features = FeatureComputer(self._parts.store)
        return Lane("features", [Reconciler("features", 1.0, features.run_once)], 120.0, self._machine)

    def people(self) -> Lane:
        """Tasks to annotators, and their answers."""
        from labeling.pace import SparingPull
        from shoptalk.processes.lanes import Lane, Reconciler

        parts = self._parts
        pull = SparingPull(parts.store, lambda: parts.pull)

        def push() -> int:
            return parts.push.run_once()

        def with_token(work: Callable[[], int | None]) -> Callable[[], int | None]:
            # read each time: a local Label Studio makes it at its first start, which may be after this process's
            return lambda: work() if label_studio_token(parts.settings) else None

        reconcilers = [
            Reconciler("push", 2.0, self._leased("push", with_token(push))),
            Reconciler("pull", 2.0, self._leased("pull", with_token(pull.run_once))),
            Reconciler("missing tasks", 60.0, self._leased("missing tasks", with_token(parts.missing_tasks.run_once))),
        ]
        return Lane("people", reconcilers, 300.0, self._machine)

    def watch(self) -> Lane:
        """Drift and its reports, topic models, and schedules."""
        from ingest.features.topics import Topics
        from shoptalk.processes.lanes import Lane, Reconciler

        parts, settings = self._parts, self._parts.settings
        reconcilers = [
            Reconciler("topics", 60.0, self._leased("topics", Topics(parts.store).run_once)),
            Reconciler("drift", settings.drift_check_s, self._leased("drift", lambda: bool(parts.watcher.run_once()))),
        ]
        labels = self._leased("labels", lambda: bool(parts.requests.on_labels(settings.labels_wanted)))
        reconcilers.append(Reconciler("labels", 60.0, labels))
        if expression := settings.round_schedule:
            ask = parts.requests.on_schedule
            schedule = self._leased("schedule", lambda: bool(ask(expression, settings.round_timezone)))
            reconcilers.append(Reconciler("schedule", 15.0, schedule))
        return Lane("watch", reconcilers, 900.0, self._machine)

    def care(self) -> Lane:
        """Erasures, adapters that they withdraw, and imports that were decided on."""
        from shoptalk.processes.lanes import Lane, Reconciler

        parts = self._parts
        reconcilers = [
            Reconciler("erasures", 5.0, self._leased("erasures", parts.erasures.run_once)),
            Reconciler("withdrawals", 5.0, self._leased("withdrawals", parts.withdrawals.run_once)),
            Reconciler("batches", 2.0, self._leased("batches", parts.batches.run_once)),
        ]
        for item in parts.retentions():
            remove = self._leased(type(item).__name__, item.remove)
            reconcilers.append(Reconciler(f"retention: {item.name}", 600.0, remove))
        reconcilers.append(Reconciler("workers that are gone", 600.0, self._forget_workers))
        return Lane("care", reconcilers, 900.0, self._machine)

    def rounds(self) -> Lane:
        """Rounds of learning; what their steps do runs in threads of its own."""
        from shoptalk.processes.lanes import Lane, Reconciler
        from shoptalk.rounds.opener import RoundOpener

        opener = RoundOpener(self._parts.store, self._jobs, self._parts.settings.round_budget)
        reconcilers = [
            Reconciler("open", 1.0, opener.run_once),
            Reconciler("sweep", min(30.0, self._silent.total_seconds()), lambda: self._jobs.sweep() and None),
        ]
        return Lane("rounds", reconcilers, 120.0, self._machine)

    def _forget_workers(self) -> None:
        """Remove the rows of workers that are gone for a day; their rounds were taken over long ago."""
        with self._parts.store.write() as conn:
            workers.forget_silent(conn, GONE)

    def _leased(self, name: str, work: Callable[[], int | None]) -> Leased:
        from shoptalk.processes.leased import Leased

        return Leased(self._parts.store, name, lambda: self._jobs.executor, self._silent, work)


def waiting(store: Store) -> dict[str, int]:
    """Return how much waits for each lane, by what it is; counts stop at 10,000."""
    with store.read() as conn:
        return {
            "inbox": inbox.backlog(conn)[0],
            "features": feature_queue.waiting(conn),
            "tasks": samples.count_unpushed(conn),
            "erasures": len(erasures.running(conn)),
            "triggers": len(rounds.untaken_triggers(conn)),
        }
