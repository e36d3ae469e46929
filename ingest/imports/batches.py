"""Import batches: what each is like, and whether one is so unlike the last ones that a person should look first.

Knows shares and means, no text. A batch is held, not refused: its conversations wait, sealed, until somebody says.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ingest.inbox.validation import Failure, Said
from shoptalk.errors import Conflict, NotFound
from shoptalk.store import Store
from shoptalk.store.ingest import imports, inbox
from shoptalk.store.ingest.imports import Batch

LEAST_CONVERSATIONS: Final = 30  # of a batch to be judged, or judged by
LEAST_BATCHES: Final = 3
LATEST: Final = 20
FAR: Final = 6.0  # robust standard deviations
MOST_FAILING: Final = 0.2
SHARE_SCALE: Final = 0.04  # the least deviation that a share's is taken for
MEAN_SCALE: Final = 0.1  # the same of a mean, as a part of it


@dataclass(slots=True)
class Figures:
    """What a batch is like so far; counts only, so that an interrupted import can go on with them."""

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
        self, turns: Sequence[Said], language: str | None, failures: Sequence[Failure], removed: Mapping[str, int]
    ) -> None:
        """Count a conversation."""
        self.conversations += 1
        self.failing += bool(failures)
        self.turns += len(turns)
        self.customers_turns += sum(turn.role == "user" for turn in turns)
        self.characters += sum(len(turn.text or "") for turn in turns)
        self.languages[language or "unknown"] += 1
        self.personal_data.update(removed)
        self.failures.update(failure.check for failure in failures)

    def as_dict(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in values.items()}

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> Figures:
        found = cls()
        for name in cls.__slots__:
            if name in report:
                value = report[name]
                setattr(found, name, Counter(value) if isinstance(value, Mapping) else value)
        return found

    def shares(self) -> dict[str, float]:
        """Each from 0 to 1, by name."""
        everyone, turns = max(1, self.conversations), max(1, self.turns)
        found = {
            "unreadable lines": self.unreadable / max(1, self.conversations + self.unreadable),
            "failing conversations": self.failing / everyone,
            "turns by customers": self.customers_turns / turns,
        }
        found |= {f"conversations in {name}": n / everyone for name, n in self.languages.items()}
        return found | {f"{name} a turn": n / turns for name, n in self.personal_data.items()}

    def means(self) -> dict[str, float]:
        return {
            "turns a conversation": self.turns / max(1, self.conversations),
            "characters a turn": self.characters / max(1, self.turns),
        }


def unlike(batch: Figures, earlier: Sequence[Figures]) -> list[str]:
    """Why a person should look at a batch before it is admitted; empty where it is like the earlier ones.

    Medians and median absolute deviations, so that one odd batch among the earlier ones makes little difference.
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
    """Opens, judges, releases and refuses batches."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def close(self, batch_id: str) -> Batch:
        """Judge a batch that was read to its end; lets it go where it is like the last ones."""
        batch = self.find(batch_id)
        with self._store.read() as conn:
            accepted = imports.newest(conn, LATEST, "accepted")
        earlier = [Figures.of(each.report) for each in accepted]
        reasons = unlike(
            Figures.of(batch.report), [each for each in earlier if each.conversations >= LEAST_CONVERSATIONS]
        )
        with self._store.write() as conn:
            imports.settle(conn, batch_id, "held" if reasons else "accepted", reasons)
        self.run_once()
        return self.find(batch_id)

    def release(self, batch_id: str) -> Batch:
        """A person says that it is fine, or that what was read of an interrupted one is enough."""
        return self._decide(batch_id, "accepted")

    def refuse(self, batch_id: str) -> Batch:
        """A person says that it must not be admitted: its conversations are deleted, its report stays."""
        return self._decide(batch_id, "refused")

    def _decide(self, batch_id: str, state: str) -> Batch:
        batch = self.find(batch_id)
        if batch.state not in ("open", "held"):
            raise Conflict(f"batch {batch_id} is {batch.state} already")
        with self._store.write() as conn:
            imports.settle(conn, batch_id, state, batch.reasons)
        self.run_once()
        return self.find(batch_id)

    def find(self, batch_id: str) -> Batch:
        """Raises NotFound."""
        with self._store.read() as conn:
            found = imports.find(conn, batch_id)
        if found is None:
            raise NotFound(f"there is no batch {batch_id[:80]}")
        return found

    def run_once(self) -> int:
        """Let arrivals of accepted batches go and delete those of refused ones; short transactions, so repeatable."""
        with self._store.read() as conn:
            waiting = inbox.batches(conn)
            states = {batch: found.state for batch in waiting if (found := imports.find(conn, batch))}
        return sum(self._settle(batch, state) for batch, state in states.items())

    def _settle(self, batch_id: str, state: str) -> int:
        total, count = 0, 1
        while count and state in ("accepted", "refused"):
            with self._store.write() as conn:
                if state == "accepted":
                    count = inbox.release(conn, batch_id)
                else:
                    gone = inbox.refuse(conn, batch_id)
                    imports.forget(conn, gone)
                    count = len(gone)
            total += count
        return total
