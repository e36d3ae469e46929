"""The Prometheus metrics of an API process, in a registry of their own: several apps can live in one process."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Counters and histograms; no label ever holds text or an id."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.replies = Counter(
            "shoptalk_replies", "Replies by adapter and how they ended.", ["adapter", "finish"], registry=self.registry
        )
        self.errors = Counter("shoptalk_errors", "Error answers by status.", ["status"], registry=self.registry)
        self.refusals = Counter(
            "shoptalk_refusals", "Requests refused by a limit.", ["lane", "reason"], registry=self.registry
        )
        self.scrub_failures = Counter(
            "shoptalk_scrub_failures", "Texts not kept because scrubbing failed.", ["reason"], registry=self.registry
        )
        self.ttft = Histogram("shoptalk_ttft_seconds", "Time to first token.", buckets=SECONDS, registry=self.registry)
        self.scrubbing = Histogram(
            "shoptalk_scrub_seconds", "Scrubbing a request.", buckets=SECONDS, registry=self.registry
        )
        self.commit = Histogram(
            "shoptalk_commit_seconds", "Committing an exchange.", buckets=SECONDS, registry=self.registry
        )
        self._engine = Gauge("shoptalk_engine", "What the engine has in use.", ["what"], registry=self.registry)
        self._waiting = Gauge(
            "shoptalk_arrivals_waiting", "Acknowledged, and not yet admitted by a worker.", registry=self.registry
        )
        self._oldest = Gauge(
            "shoptalk_arrivals_oldest_seconds", "Age of the oldest of these; 0 for none.", registry=self.registry
        )

    def render(self, engine: Mapping[str, float], backlog: tuple[int, datetime | None] | None, at: datetime) -> bytes:
        """Return all metrics as text, with the engine's now and what waits for a worker, if that is known."""
        waiting, since = backlog or (math.nan, None)
        age = max(0.0, (at - since).total_seconds()) if since else 0.0
        self._waiting.set(waiting)
        self._oldest.set(age if backlog else math.nan)
        for what, value in engine.items():
            self._engine.labels(what).set(value)
        return generate_latest(self.registry)
