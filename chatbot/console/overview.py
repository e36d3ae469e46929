"""The console's data, read in one snapshot of the store. Knows no HTML and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from chatbot.console.drawing import Bar, Sparkline, bars, sparkline
from chatbot.console.progress import OpenRound, open_rounds
from shoptalk.domain import BASE_VERSION, Adapter, AdapterRef, Release
from shoptalk.settings import Settings
from shoptalk.store import Store, adapters, rounds, triggers
from shoptalk.store.chat import inferences, keys, releases
from shoptalk.store.chat.releases import Observed, ReleaseEvent
from shoptalk.store.ingest import conversations, feedback, inbox, quarantine, turns
from shoptalk.store.labeling import labels, samples
from shoptalk.store.monitoring import drift_checks, reports  # fmt: skip
from shoptalk.store.monitoring.drift_checks import DriftCheck
from shoptalk.store.monitoring.reports import Report
from shoptalk.store.rounds import Round
from shoptalk.store.training import datasets, evaluations, runs
from shoptalk.store.training.datasets import Dataset
from shoptalk.store.training.evaluations import Evaluation
from shoptalk.store.training.runs import Run
from shoptalk.store.triggers import Trigger

SHOWN = 12  # of each list, newest first
CHECKS = 60


@dataclass(frozen=True, slots=True)
class Served:
    """The adapter that an alias should serve, and what each API process does serve."""

    alias: str
    adapter: str
    previous: str | None
    since: datetime | None
    release: Release | None
    observed: tuple[Observed, ...]

    @property
    def settled(self) -> bool:
        """Return whether every API process serves what it should."""
        return all(o.adapter == self.adapter and not o.problem for o in self.observed)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A registered adapter, the gate's evaluation of it, and how many replies it gave."""

    adapter: Adapter
    evaluation: Evaluation | None
    replies: int


@dataclass(frozen=True, slots=True)
class ReleaseHistory:
    """A release with its events, oldest first."""

    release: Release
    events: tuple[ReleaseEvent, ...]


@dataclass(frozen=True, slots=True)
class Labelling:
    """Counts of labelling: replies sampled, tasks, annotations, labels, and labels by verdict."""

    sampled: int
    tasks: int
    annotations: int
    labels: int
    verdicts: list[Bar]


@dataclass(frozen=True, slots=True)
class Drift:
    """Drift checks, newest first, and their drawing; None where there are none."""

    checks: list[DriftCheck]
    line: Sparkline | None
    trigger: float
    #: how many more conversations the next look waits for; 0 where it is due
    missing: int
    reports: list[Report]


@dataclass(frozen=True, slots=True)
class Overview:
    """The data of the console's page at one moment."""

    at: datetime
    served: list[Served]
    rounds_open: list[OpenRound]
    rounds: list[Round]
    triggers: list[Trigger]
    counts: Mapping[str, int]
    replies: list[Bar]
    removed: list[Bar]
    feedback: Mapping[str, tuple[int, float]]
    labelling: Labelling
    datasets: list[Dataset]
    runs: list[Run]
    candidates: list[Candidate]
    releases: list[ReleaseHistory]
    drift: Drift
    quarantine: list[Bar]
    actors: Mapping[str, str]


def read_overview(store: Store, settings: Settings) -> Overview:
    """Read everything in one transaction."""
    with store.read() as conn:
        checks = drift_checks.newest(conn, CHECKS)
        line = sparkline([c.p_value for c in reversed(checks)], settings.drift_p_value) if checks else None
        return Overview(
            at=store.now(),
            served=_served(conn, settings.model_alias),
            rounds_open=open_rounds(conn, settings),
            rounds=rounds.newest(conn, SHOWN),
            triggers=triggers.newest(conn, SHOWN),
            counts={
                "conversations": conversations.count(conn),
                "turns": turns.count(conn),
                "waiting": inbox.count(conn),
            },
            replies=bars(inferences.by_adapter(conn)),
            removed=bars(turns.pii_totals(conn)),
            feedback=feedback.totals(conn),
            labelling=Labelling(
                samples.count(conn), samples.count(conn, pushed=True), labels.count_annotations(conn),
                labels.count(conn), bars(labels.verdicts(conn)),
            ),
            datasets=datasets.newest(conn, SHOWN),
            runs=runs.newest(conn, SHOWN),
            candidates=_candidates(conn),
            releases=_releases(conn),
            drift=Drift(checks, line, settings.drift_p_value, _missing(conn, settings), reports.newest(conn, SHOWN)),
            quarantine=bars(quarantine.reasons(conn)),
            actors={key.id: key.name for key in keys.everyone(conn)},
        )  # fmt: skip


def _missing(conn: sa.Connection, settings: Settings) -> int:
    """Return how many more conversations the next look for drift waits for."""
    last, size = drift_checks.last_look(conn), settings.drift_window
    traffic = conversations.customers_of(settings.model_alias)
    return size - conversations.count_after(conn, traffic, last.end if last else None, size)


def _served(conn: sa.Connection, default: str) -> list[Served]:
    desired = {row.alias: row for row in releases.all_desired(conn)}
    observed = releases.all_observed(conn)
    found = []
    for alias in sorted({default, *desired, *(o.alias for o in observed)}, key=lambda a: (a != default, a)):
        seen = tuple(o for o in observed if o.alias == alias)
        live = next(iter(releases.rolling_out(conn, alias)), None) or releases.live(conn, alias)
        if row := desired.get(alias):
            found.append(Served(alias, row.adapter, row.previous, row.updated_at, live, seen))
        else:
            found.append(Served(alias, str(AdapterRef(alias, BASE_VERSION)), None, None, live, seen))
    return found


def _candidates(conn: sa.Connection) -> list[Candidate]:
    replies = inferences.by_adapter(conn)
    newest = adapters.newest(conn, SHOWN)
    return [Candidate(a, evaluations.newest_of(conn, str(a.ref)), replies.get(str(a.ref), 0)) for a in newest]


def _releases(conn: sa.Connection) -> list[ReleaseHistory]:
    newest = releases.newest(conn, SHOWN)
    return [ReleaseHistory(item, tuple(releases.events(conn, release_id=item.id)[::-1])) for item in newest]
