"""The worker built from Settings: its reconcilers, and the rounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from shoptalk.app.parts import Parts, label_studio_token
from shoptalk.app.rounds import StageWork
from shoptalk.clock import MACHINE
from shoptalk.settings import Settings
from shoptalk.store import rounds

if TYPE_CHECKING:
    from shoptalk.processes.heartbeat import Heartbeat
    from shoptalk.processes.worker import Worker


def build_worker(settings: Settings) -> Worker:
    """Build the worker: drain, features, Label Studio, drift and rounds."""
    from ingest.features.computer import FeatureComputer
    from ingest.features.topics import Topics
    from ingest.inbox.drain import Drain
    from shoptalk.processes.heartbeat import EVERY_S
    from shoptalk.processes.worker import Reconciler, Worker
    from shoptalk.rounds.steps import RoundPlan, RoundSteps
    from shoptalk.rounds.workflow import Jobs

    parts = Parts(settings)
    drain = Drain(parts.store, parts.secrets, parts.scrubber)
    features = FeatureComputer(parts.store)
    plan = RoundPlan(settings.labels_wanted, settings.labels_wait_s, settings.auto_promote)
    jobs = Jobs(settings.jobs_database, settings.home / "executors", RoundSteps(parts.store, StageWork(parts), plan))
    reconcilers = [
        Reconciler("alive", EVERY_S, heartbeat(settings).beat),
        Reconciler("drain", 0.5, drain.run_once),
        Reconciler("features", 2.0, features.run_once),
        Reconciler("topics", 60.0, Topics(parts.store).run_once),
        Reconciler("erasures", 5.0, parts.erasures.run_once),
        Reconciler("batches", 2.0, parts.batches.run_once),
        Reconciler("withdrawals", 5.0, parts.withdrawals.run_once),
        Reconciler("drift", settings.drift_check_s, parts.watcher.run_once),
    ]
    if settings.round_every_s:
        schedule: Callable[[], object] = lambda: parts.watcher.on_schedule(settings.round_every_s)  # noqa: E731
        reconcilers.append(Reconciler("schedule", min(60.0, settings.round_every_s), schedule))
    # the token is read each time: a local Label Studio makes it at its first start, which may be after this process's
    reconcilers.append(Reconciler("push", 2.0, lambda: parts.push.run_once() if label_studio_token(settings) else None))
    reconcilers.append(Reconciler("pull", 2.0, SparingPull(parts).run_once))
    return Worker(parts.store, jobs, reconcilers)


def heartbeat(settings: Settings) -> Heartbeat:
    """Return the heartbeat of this host's workers."""
    from shoptalk.processes.heartbeat import Heartbeat

    return Heartbeat(settings.home / "executors")


class SparingPull:
    """Pulls at each call while a round waits for labels, else once a minute: a pull keeps Label Studio busy."""

    def __init__(self, parts: Parts, calm_s: float = 60.0) -> None:
        self._parts, self._calm, self._last = parts, calm_s, -calm_s

    def run_once(self) -> object:
        """Pull if it is due; return the result, or None."""
        with self._parts.store.read() as conn:
            waiting = any(r.state == "waiting" for r in rounds.unfinished(conn))
        due = waiting or MACHINE.monotonic() - self._last >= self._calm
        if not due or not label_studio_token(self._parts.settings):
            return None
        result = self._parts.pull.run_once()
        self._last = MACHINE.monotonic()  # only now: after a failure the worker decides when to try again
        return result
