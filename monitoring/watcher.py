"""Compares the windows, tests for drift, writes reports and raises triggers. Starts no round itself.

One test decides (MMD on whole conversations). A trigger is raised where its p-value is at or below the limit, once per
reference: until a new dataset moves the reference, the same drift raises no second one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import numpy as np
import sqlalchemy as sa
import structlog

from monitoring.mmd import mmd_test
from monitoring.windows import EmbeddedConversation, Windows, feedback_of, read_windows
from shoptalk.domain import TriggerKind, new_id
from shoptalk.errors import NotEnoughData
from shoptalk.models.artifacts import Artifacts
from shoptalk.store import Store, rounds
from shoptalk.store.database import exclusively
from shoptalk.store.ingest import topics, turns
from shoptalk.store.monitoring import drift_checks, reports, triggers
from shoptalk.store.monitoring.drift_checks import DriftCheck
from shoptalk.store.monitoring.reports import Report
from shoptalk.store.monitoring.triggers import Trigger
from shoptalk.store.training import datasets

log = structlog.get_logger(__name__)


class Watcher:
    """Watches for drift. `window` is the size of the current window in conversations, `limit` a p-value."""

    def __init__(self, store: Store, artifacts: Artifacts, window: int, limit: float) -> None:
        self._store, self._artifacts, self._window, self._limit = store, artifacts, window, limit

    def run_once(self) -> DriftCheck | None:
        """Test for drift if there are new turns; where there is drift, write a report and raise a trigger.

        Return the check, or None where nothing was tested.
        """
        windows = self._windows()
        if windows is None:
            return None
        with self._store.read() as conn:
            last = drift_checks.newest(conn, 1)
        if last and last[0].current_until == windows.until:
            return None
        check = self._test(windows)
        drifted = check.p_value <= self._limit and not self._raised()
        report = self._report(windows, f"Drift, p = {check.p_value:.3f}") if drifted else None
        check = self._keep(check, report)
        if drifted:
            reason = f"customers write differently: p = {check.p_value:.3f} in {check.current} conversations"
            self._trigger_unless(self._raised_in, "drift", reason)
        return check

    def check(self) -> DriftCheck | None:
        """Test for drift now and record the check; None where there are not enough conversations."""
        windows = self._windows()
        return self._keep(self._test(windows), None) if windows else None

    def report(self, title: str = "Current window against reference") -> Report:
        """Write a report now. Raises NotEnoughData."""
        windows = self._windows()
        if windows is None:
            raise NotEnoughData(
                "not enough conversations yet", fix=f"wait for {self._window} of them (SHOPTALK_DRIFT_WINDOW)"
            )
        return self._report(windows, title)

    def trigger(self, kind: TriggerKind, reason: str) -> Trigger:
        """Ask for a round."""
        made = self._trigger_unless(lambda _: False, kind, reason)
        assert made is not None
        return made

    def on_schedule(self, every_s: float) -> Trigger | None:
        """Ask for a round where the last one began longer ago than `every_s` seconds."""

        def early(conn: sa.Connection) -> bool:
            last = triggers.newest(conn, 1)
            return bool(last) and self._store.now() - last[0].created_at < timedelta(seconds=every_s)

        return self._trigger_unless(early, "schedule", f"every {every_s:.0f} s")

    def novelty(self, round_id: str) -> Mapping[str, float] | None:
        """Return how far the conversation of each current turn is from the reference, 0 to 1, by turn id.

        None for a round that drift did not start, or without enough conversations.
        """
        with self._store.read() as conn:
            found = rounds.find(conn, round_id)
            raised = {t.id: t for t in triggers.newest(conn, 500)}
        trigger = raised.get(found.trigger_id or "") if found else None
        windows = self._windows() if trigger and trigger.kind == "drift" else None
        if windows is None:
            return None
        reference = np.stack([c.embedding for c in windows.reference])
        current = np.stack([c.embedding for c in windows.current])
        nearest = np.sort(current @ reference.T, axis=1)[:, -5:].mean(1)  # similarity to the five nearest
        far = 1 - nearest
        span = float(far.max() - far.min()) or 1.0
        scores = (far - far.min()) / span
        return {t.id: float(s) for c, s in zip(windows.current, scores, strict=True) for t in c.turns}

    def _windows(self) -> Windows | None:
        """Return both windows; None where too few of their conversations have embeddings."""
        windows = read_windows(self._store, self._window, turns.FEATURES)
        enough = windows and min(len(windows.reference), len(windows.current)) >= self._window // 2
        return windows if enough else None

    def _test(self, windows: Windows) -> DriftCheck:
        both = [np.stack([c.embedding for c in window]) for window in (windows.reference, windows.current)]
        found = mmd_test(*both, seed=windows.until)
        sizes = (len(windows.reference), len(windows.current))
        return DriftCheck(new_id("chk"), found.statistic, found.p_value, *sizes, windows.until, None, self._store.now())

    def _trigger_unless(self, known: Callable[[sa.Connection], bool], kind: TriggerKind, reason: str) -> Trigger | None:
        """Raise a trigger unless `known` holds; of several workers that try at once, one does."""
        trigger = Trigger(new_id("trg"), kind, reason, None, self._store.now())
        with self._store.write() as conn:
            exclusively(conn, "triggers")
            if known(conn):
                return None
            triggers.add(conn, trigger)
        log.info("round triggered", kind=kind, reason=reason)
        return trigger

    def _raised(self) -> bool:
        """Return whether drift against this reference has raised a trigger already."""
        with self._store.read() as conn:
            return self._raised_in(conn)

    @staticmethod
    def _raised_in(conn: sa.Connection) -> bool:
        frozen = datasets.newest(conn, 1)
        raised = [t for t in triggers.newest(conn, 500) if t.kind == "drift"]
        since = frozen[0].created_at if frozen else None
        return any(since is None or t.created_at > since for t in raised)

    def _keep(self, check: DriftCheck, report: Report | None) -> DriftCheck:
        if report:
            check = dataclasses.replace(check, report_id=report.id)
        with self._store.write() as conn:
            drift_checks.add(conn, check)
        log.info("drift checked", p_value=check.p_value, reference=check.reference, current=check.current)
        return check

    def _report(self, windows: Windows, title: str) -> Report:
        from monitoring.reports import frame, render

        topic = self._topics(windows)
        reference, current = (
            frame(window, self._features(window), feedback_of(self._store, window), topic)
            for window in (windows.reference, windows.current)
        )
        html, metrics = render(reference, current, title)
        report = Report(new_id("rep"), title, self._artifacts.put(html), metrics, self._store.now())
        with self._store.write() as conn:
            reports.add(conn, report)
        return report

    def _topics(self, windows: Windows) -> dict[str, int]:
        ids = [turn.id for window in (windows.reference, windows.current) for c in window for turn in c.turns]
        with self._store.read() as conn:
            model = topics.newest_model(conn, turns.FEATURES)
            return topics.of_turns(conn, model.id, ids) if model else {}

    def _features(self, window: Sequence[EmbeddedConversation]) -> dict[str, turns.Features]:
        ids = [turn.id for c in window for turn in c.turns]
        with self._store.read() as conn:
            return turns.features(conn, turns.FEATURES, ids)
