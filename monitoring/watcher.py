"""Compares the windows, tests for drift, writes reports and asks for rounds. Starts no round itself.

One test decides (MMD on whole conversations). Looks are paid for: each conversation is in one look only, and there is
one look for each full window, so the number of false alarms grows with traffic and not with how often the watcher
runs. Drift that was found asks for a round unless one that it asked for waits or runs; a look after a round that
changed nothing asks again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import structlog

from monitoring.mmd import mmd_test
from monitoring.windows import REFERENCE, EmbeddedConversation, Windows, feedback_of, find_reference, read_windows
from shoptalk.domain import AdapterRef, new_id
from shoptalk.errors import NotEnoughData
from shoptalk.models.artifacts import Artifacts
from shoptalk.rounds.requests import RoundRequests
from shoptalk.store import Store, triggers
from shoptalk.store.ingest import conversations, feature_queue, topics, turns
from shoptalk.store.ingest.conversations import Place
from shoptalk.store.monitoring import drift_checks, reports
from shoptalk.store.monitoring.drift_checks import DriftCheck
from shoptalk.store.monitoring.reports import Report

log = structlog.get_logger(__name__)
FAR_BEHIND: Final = (
    10  # windows; then the next look is at the newest conversations, as after an upgrade or a long pause
)


@dataclass(frozen=True, slots=True)
class WatchPlan:
    """The settings of the watch."""

    #: the alias whose customers are watched
    alias: str
    #: conversations in a look
    window: int
    #: the p-value at or below which there is drift
    limit: float
    #: conversations of the reference, at most
    reference: int = REFERENCE


class Watcher:
    """Watches for drift. `served` returns the adapter that the alias serves."""

    def __init__(self, store: Store, artifacts: Artifacts, plan: WatchPlan, served: Callable[[], AdapterRef]) -> None:
        self._store, self._artifacts, self._plan, self._served = store, artifacts, plan, served
        self._requests = RoundRequests(store)

    def run_once(self) -> DriftCheck | None:
        """Look at the next full window of new conversations; where there is drift, write a report and ask for a round.

        Return the check, or None where no window is full.
        """
        windows = self._next()
        if windows is None:
            return None
        check = self._test(windows, asked=False)
        drifted = check.p_value <= self._plan.limit
        with self._store.read() as conn:
            asks = drifted and not triggers.is_open(conn, "drift")
        report = self._report(windows, f"Drift, p = {check.p_value:.2g}") if asks else None
        if asks:  # before the look is recorded: after a kill in between it is made again
            reason = f"customers write differently: p = {check.p_value:.2g} in {check.current} conversations"
            self._requests.ask("drift", f"{reason}, against {check.against}")
        return self._keep(check, report)

    def check(self) -> DriftCheck | None:
        """Test the newest conversations for drift now and record the check; None where there are not enough."""
        windows = self._newest()
        return self._keep(self._test(windows, asked=True), None) if windows else None

    def report(self, title: str = "Current window against reference") -> Report:
        """Write a report on the newest conversations now. Raises NotEnoughData."""
        windows = self._newest()
        if windows is None:
            raise NotEnoughData(
                "not enough conversations yet", fix=f"wait for {self._plan.window} of them (SHOPTALK_DRIFT_WINDOW)"
            )
        return self._report(windows, title)

    def missing(self) -> int:
        """Return how many conversations the next look waits for; 0 where it is due."""
        traffic, size, served = conversations.customers_of(self._plan.alias), self._plan.window, self._served()
        with self._store.read() as conn:
            reference = find_reference(conn, traffic, served, size, self._plan.reference)
            begin = _later(reference.end, drift_checks.last_look(conn)) if reference else None
            return size - conversations.count_after(conn, traffic, begin, size)

    def novelty(self) -> Mapping[str, float] | None:
        """Return how far the conversation of each of the newest turns is from the reference, 0 to 1, by turn id.

        None where there are not enough conversations.
        """
        windows = self._newest()
        if windows is None:
            return None
        reference = np.stack([c.embedding for c in windows.reference])
        current = np.stack([c.embedding for c in windows.current])
        nearest = np.sort(current @ reference.T, axis=1)[:, -5:].mean(1)  # similarity to the five nearest
        far = 1 - nearest
        span = float(far.max() - far.min()) or 1.0
        scores = (far - far.min()) / span
        return {t.id: float(s) for c, s in zip(windows.current, scores, strict=True) for t in c.turns}

    def _next(self) -> Windows | None:
        """Return the windows of the next look; None where that is not full, or where features are still computed."""
        traffic, size, served = conversations.customers_of(self._plan.alias), self._plan.window, self._served()
        with self._store.read() as conn:
            reference = find_reference(conn, traffic, served, size, self._plan.reference)
            last = drift_checks.last_look(conn)
            if reference is None:
                return None
            begin = _later(reference.end, last)
            if conversations.count_after(conn, traffic, begin, FAR_BEHIND * size) == FAR_BEHIND * size:
                current = conversations.newest(conn, traffic, size)[::-1]  # what came before is left out
            else:
                current = conversations.oldest(conn, traffic, size, after=begin)
            if len(current) < size:
                return None
            windows = read_windows(conn, reference, current, turns.FEATURES)
            if len(windows.current) < len(current) and feature_queue.waiting(conn, 1):
                return None
        return self._enough(windows)

    def _newest(self) -> Windows | None:
        """Return the reference and the newest conversations after it; None where these are too few."""
        traffic, size, served = conversations.customers_of(self._plan.alias), self._plan.window, self._served()
        with self._store.read() as conn:
            reference = find_reference(conn, traffic, served, size, self._plan.reference)
            if reference is None or conversations.count_after(conn, traffic, reference.end, size) < size:
                return None
            current = conversations.newest(conn, traffic, size)[::-1]
            return self._enough(read_windows(conn, reference, current, turns.FEATURES))

    def _enough(self, windows: Windows) -> Windows | None:
        """Return the windows; None where too few of their conversations have embeddings."""
        return windows if min(len(windows.reference), len(windows.current)) >= self._plan.window // 2 else None

    def _test(self, windows: Windows, *, asked: bool) -> DriftCheck:
        both = [np.stack([c.embedding for c in window]) for window in (windows.reference, windows.current)]
        found = mmd_test(*both, limit=self._plan.limit)
        return DriftCheck(
            id=new_id("chk"),
            statistic=found.statistic,
            p_value=found.p_value,
            against=windows.against,
            reference=len(windows.reference),
            current=len(windows.current),
            asked=asked,
            end=windows.end,
            report_id=None,
            created_at=self._store.now(),
        )

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
            return topics.of_turns(conn, ids)

    def _features(self, window: Sequence[EmbeddedConversation]) -> dict[str, turns.Features]:
        ids = [turn.id for c in window for turn in c.turns]
        with self._store.read() as conn:
            return turns.features(conn, turns.FEATURES, ids)


def _later(end: Place, last: DriftCheck | None) -> Place:
    """Return where the next look begins: after the reference, and after the last look."""
    if last is None or last.end is None or last.end.at < end.at:
        return end
    return last.end
