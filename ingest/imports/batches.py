"""Import batches: metrics of each, and whether one is so unlike the last ones that a person should look first.

Knows shares and means, no text. A batch is held, not refused: its conversations wait, encrypted, until
a person decides.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ingest.inbox.validation import CheckedTurn, FailedCheck
from shoptalk.domain import BatchState
from shoptalk.errors import NotFound
from shoptalk.moves import BATCH
from shoptalk.store import Store
from shoptalk.store.ingest import imports, inbox
from shoptalk.store.ingest.imports import Batch

LEAST_CONVERSATIONS: Final = 30  # of a batch that is compared, or compared with
LEAST_BATCHES: Final = 3  # accepted ones to compare with
LATEST: Final = 20  # accepted batches that are looked at
FAR: Final = 6.0  # robust standard deviations
MOST_FAILING: Final = 0.2
SHARE_SCALE: Final = 0.04  # the least standard deviation assumed for a share
MEAN_SCALE: Final = 0.1  # the least assumed for a mean, as a part of it


@dataclass(slots=True)
class BatchMetrics:
    """Counts of a batch so far, with which an interrupted import can go on."""

    conversations: int = 0
    unreadable: int = 0
    failing: int = 0
    turns: int = 0
    customers_turns: int = 0
    characters: int = 0
    languages: Counter[str] = field(default_factory=Counter)
    personal_data: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)

    def add(
        self,
        turns: Sequence[CheckedTurn],
        language: str | None,
        failures: Sequence[FailedCheck],
        removed: Mapping[str, int],
    ) -> None:
        """Count a conversation; `removed` are values that scrubbing removed, by type."""
        self.conversations += 1
        self.failing += bool(failures)
        self.turns += len(turns)
        self.customers_turns += sum(turn.role == "user" for turn in turns)
        self.characters += sum(len(turn.text or "") for turn in turns)
        self.languages[language or "unknown"] += 1
        self.personal_data.update(removed)
        self.failures.update(failure.check for failure in failures)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as JSON values, as the batch's report keeps them."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in values.items()}

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> BatchMetrics:
        """Return the counts of a batch's report."""
        found = cls()
        for name in cls.__slots__:
            if name in report:
                value = report[name]
                setattr(found, name, Counter(value) if isinstance(value, Mapping) else value)
        return found

    def shares(self) -> dict[str, float]:
        """Return shares from 0 to 1, by name; values removed a turn may be more."""
        everyone, turns = max(1, self.conversations), max(1, self.turns)
        found = {
            "unreadable lines": self.unreadable / max(1, self.conversations + self.unreadable),
            "failing conversations": self.failing / everyone,
            "turns by customers": self.customers_turns / turns,
        }
        found |= {f"conversations in {name}": n / everyone for name, n in self.languages.items()}
        return found | {f"{name} a turn": n / turns for name, n in self.personal_data.items()}

    def means(self) -> dict[str, float]:
        """Return means, by name."""
        return {
            "turns a conversation": self.turns / max(1, self.conversations),
            "characters a turn": self.characters / max(1, self.turns),
        }


def differences(batch: BatchMetrics, earlier: Sequence[BatchMetrics]) -> list[str]:
    """Return why a person should look at a batch before it is admitted; empty where it is like the earlier ones.

    Compares with medians and median absolute deviations, so that one odd batch among the earlier ones makes little
    difference.
    """
    if batch.conversations < LEAST_CONVERSATIONS:
        return []
    reasons = []
    if batch.failing > MOST_FAILING * batch.conversations:
        reasons.append(f"{batch.failing} of {batch.conversations} conversations fail a check")
    if len(earlier) < LEAST_BATCHES:
        return reasons
    for mine, theirs, scale in (
        (batch.shares(), [each.shares() for each in earlier], lambda _: SHARE_SCALE),
        (batch.means(), [each.means() for each in earlier], lambda usual: MEAN_SCALE * usual),
    ):
        for name in sorted({*mine, *(key for each in theirs for key in each)}):
            values = [each.get(name, 0.0) for each in theirs]
            usual, value = statistics.median(values), mine.get(name, 0.0)
            spread = 1.4826 * statistics.median(abs(v - usual) for v in values)
            if abs(value - usual) > FAR * max(spread, scale(usual)):
                reasons.append(f"{name}: {value:.3g}, else {usual:.3g}")
    return reasons


class Batches:
    """Judges, releases and refuses batches."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def close(self, batch_id: str) -> Batch:
        """Judge a batch that was read to its end: hold it, or release it where it is like the last ones.

        What a person decided about it meanwhile stays.
        """
        batch = self.find(batch_id)
        with self._store.read() as conn:
            accepted = imports.newest(conn, LATEST, "accepted")
        earlier = [BatchMetrics.of(each.report) for each in accepted]
        reasons = differences(
            BatchMetrics.of(batch.report), [each for each in earlier if each.conversations >= LEAST_CONVERSATIONS]
        )
        if batch.state == BATCH.initial:
            self._move(batch, "hold" if reasons else "release", reasons)
        self.run_once()
        return self.find(batch_id)

    def release(self, batch_id: str) -> Batch:
        """Admit a batch that a person finds fine, or what was read of an interrupted one. Raises NotFound, Conflict."""
        return self._decide(batch_id, "release")

    def refuse(self, batch_id: str) -> Batch:
        """Delete the conversations of a batch that a person refuses; its report stays. Raises NotFound, Conflict."""
        return self._decide(batch_id, "refuse")

    def _decide(self, batch_id: str, move: str) -> Batch:
        batch = self.find(batch_id)
        self._move(batch, move, batch.reasons)
        self.run_once()
        return self.find(batch_id)

    def _move(self, batch: Batch, move: str, reasons: Sequence[str]) -> None:
        """Raises IllegalMove where the batch's state does not allow it."""
        state = BATCH.after(move, batch.state, batch.id)
        with self._store.write() as conn:
            imports.settle(conn, batch.id, state, reasons)

    def find(self, batch_id: str) -> Batch:
        """Return a batch; raise NotFound."""
        with self._store.read() as conn:
            found = imports.find(conn, batch_id)
        if found is None:
            raise NotFound(f"there is no batch {batch_id[:80]}")
        return found

    def run_once(self) -> int:
        """Release the entries of accepted batches and delete those of refused ones; return how many.

        Transactions are short; may be killed anywhere and called again.
        """
        with self._store.read() as conn:
            waiting = inbox.batches(conn)
            states = {batch: found.state for batch in waiting if (found := imports.find(conn, batch))}
        return sum(self._settle(batch, state) for batch, state in states.items())

    def _settle(self, batch_id: str, state: BatchState) -> int:
        total, count = 0, 1
        while count and state in BATCH.final:
            with self._store.write() as conn:
                if state == "accepted":
                    count = inbox.release(conn, batch_id)
                else:
                    gone = inbox.refuse(conn, batch_id)
                    imports.forget(conn, gone)
                    count = len(gone)
            total += count
        return total
