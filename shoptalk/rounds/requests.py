"""Asks for rounds of learning: a person, drift, a schedule, new labels or an erasure. Starts none itself.

Of each kind at most one request waits; while it does, another of that kind adds nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import sqlalchemy as sa
import structlog
from cronsim import CronSim

from shoptalk.domain import TriggerKind, new_id
from shoptalk.store import Store, cursors, rounds, triggers
from shoptalk.store.database import exclusively
from shoptalk.store.labeling import labels
from shoptalk.store.triggers import Trigger

log = structlog.get_logger(__name__)
BUDGETED: Final = timedelta(days=7)  # the time that a budget of labels is for
FROZEN: Final = "labels when frozen"  # the cursor of how many labels a dataset was made of, or asked for
#: kinds of triggers whose rounds ask annotators; the others learn from the labels that are there
PEOPLE: Final[frozenset[TriggerKind]] = frozenset({"drift", "schedule", "person"})


def asks_people(trigger: Trigger) -> bool:
    """Return whether a round for this trigger chooses replies for annotators."""
    return trigger.kind in PEOPLE


class RoundRequests:
    """Writes triggers. Of several processes that ask at once, one writes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def ask(self, kind: TriggerKind, reason: str) -> Trigger:
        """Ask for a round; return the request, which may be one of this kind that waits already."""
        found = self.ask_unless(kind, reason, lambda _: False)
        assert found is not None
        return found

    def ask_unless(self, kind: TriggerKind, reason: str, known: Callable[[sa.Connection], bool]) -> Trigger | None:
        """Ask for a round unless `known` holds; return the request, None where it holds."""
        trigger = Trigger(new_id("trg"), kind, reason, None, self._store.now())
        with self._store.write() as conn:
            exclusively(conn, "triggers")
            if known(conn):
                return None
            if (waiting := triggers.waiting(conn, kind)) is not None:
                return waiting
            triggers.add(conn, trigger)
        log.info("round triggered", kind=kind, reason=reason)
        return trigger

    def ask_for_erasure(self, reason: str) -> None:
        """Ask for a round without erased examples, once for each reason."""
        self.ask_unless("erasure", reason, lambda conn: triggers.was_asked(conn, "erasure", reason))

    def on_schedule(self, expression: str, zone: str) -> Trigger | None:
        """Ask for a round where a time of the cron expression came since the last request of a schedule.

        Times that passed while no worker ran count once. `zone` is a name of the time zone database.
        """
        at, name = self._store.now(), "schedule"
        with self._store.read() as conn:
            since = cursors.get(conn, name)
        if not since:  # of a new schedule the first time is yet to come
            self._put(name, int(at.timestamp()))
            return None
        due = next(CronSim(expression, datetime.fromtimestamp(since, ZoneInfo(zone))))
        if due > at:
            return None
        made = self.ask("schedule", f"{expression} {zone}")
        self._put(name, int(at.timestamp()))
        return made

    def on_labels(self, wanted: int) -> Trigger | None:
        """Ask for a round where `wanted` labels came since a dataset was frozen, and no round is under way.

        A round that could make no dataset of them is not asked for again before as many more have come.
        """
        with self._store.read() as conn:
            there = labels.count(conn)
            new = there - cursors.get(conn, FROZEN)
            if new < wanted or rounds.unfinished(conn):
                return None
        made = self.ask("labels", f"{new} new labels")
        self._put(FROZEN, there)
        return made

    def _put(self, name: str, position: int) -> None:
        with self._store.write() as conn:
            cursors.put(conn, name, position)
