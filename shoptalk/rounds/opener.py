"""Opens a round for a trigger that waits, and makes sure that each open round's workflow exists."""

from __future__ import annotations

import sqlalchemy as sa
import structlog

from shoptalk.domain import TriggerKind, new_id
from shoptalk.rounds.requests import BUDGETED, PEOPLE
from shoptalk.rounds.workflow import Jobs
from shoptalk.store import Store, rounds
from shoptalk.store.database import exclusively
from shoptalk.store.labeling import samples

log = structlog.get_logger(__name__)


class RoundOpener:
    """Opens rounds, one at a time: of several workers too. `budget` is in labels a week; 0 means no limit."""

    def __init__(self, store: Store, jobs: Jobs, budget: int = 0) -> None:
        self._store, self._jobs, self._budget = store, jobs, budget

    def run_once(self) -> None:
        """Let triggers join a round that waits for labels, else open the round that is due, if any."""
        with self._store.read() as conn:  # mostly there is nothing to write
            waiting, unfinished = rounds.untaken_triggers(conn), rounds.unfinished(conn)
        if waiting and (not unfinished or unfinished[0].awaits_labels):
            with self._store.write() as conn:
                exclusively(conn, "rounds")
                self._take(conn)
                unfinished = rounds.unfinished(conn)
        for item in unfinished:
            self._jobs.ensure(item.id)

    def _take(self, conn: sa.Connection) -> None:
        waiting, unfinished = rounds.untaken_triggers(conn), rounds.unfinished(conn)
        if not unfinished:
            self._open(conn, [id for id, kind in waiting if self._affordable(conn, kind)])
        elif unfinished[0].awaits_labels:
            for trigger, kind in waiting:
                rounds.join(conn, trigger, unfinished[0].id)
                log.info("trigger joined", round=unfinished[0].id, trigger=trigger, kind=kind)

    def _open(self, conn: sa.Connection, waiting: list[str]) -> None:
        """Open a round for the oldest of these; the others join it."""
        if not waiting:
            return
        round_id = new_id("rnd")
        rounds.open_for(conn, waiting[0], round_id)
        for other in waiting[1:]:
            rounds.join(conn, other, round_id)
        log.info("round started", round=round_id, triggers=waiting)

    def _affordable(self, conn: sa.Connection, kind: TriggerKind) -> bool:
        """Return whether a round of this kind may ask annotators, or need not."""
        if not self._budget or kind not in PEOPLE:
            return True
        return samples.count_since(conn, self._store.now() - BUDGETED, self._budget) < self._budget
