"""The results of an import: the outcome of each conversation, and totals."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, Literal

from ingest.imports.prepare import PreparedConversation

MOST_PROBLEMS: Final = 100


@dataclass(frozen=True, slots=True)
class ImportOutcome:
    """The outcome of one conversation; `erased` is one that came after an erasure."""

    #: number of its line, from 1
    line: int
    state: Literal["new", "changed", "unchanged", "erased", "refused"]
    #: how many are new
    turns: int = 0
    #: what is wrong with it, without quoting it
    problem: str | None = None


@dataclass(slots=True)
class ImportResult:
    """Totals of an import, or with `dry_run` what they would be."""

    #: conversations and lines that could not be read
    read: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    #: lines that cannot be read, conversations that are another's and those that could not be scrubbed
    failed: int = 0
    #: conversations that go to quarantine for failing a check
    failing: int = 0
    #: conversations left out since their customer or they themselves were erased
    erased: int = 0
    #: how many are new
    turns: int = 0
    #: values removed from new turns, by type
    pii: dict[str, int] = field(default_factory=dict)
    #: the first hundred
    problems: list[str] = field(default_factory=list)
    #: id and state
    batch: tuple[str, str] | None = None
    #: why the batch is held
    held: list[str] = field(default_factory=list)

    def note(self, problem: str) -> None:
        """Add a problem, unless there are a hundred."""
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)

    def count(self, outcome: ImportOutcome, prepared: PreparedConversation | None) -> None:
        """Add one conversation's outcome."""
        if outcome.state == "refused":
            self.failed += 1
            self.note(outcome.problem or "")
            return
        setattr(self, outcome.state, getattr(self, outcome.state) + 1)
        if outcome.state in ("unchanged", "erased"):
            return
        assert prepared is not None
        self.turns += outcome.turns
        self.pii = dict(sum((Counter(turn.pii) for turn in prepared.turns[-outcome.turns :]), Counter(self.pii)))
        if prepared.reason:
            self.failed += 1
            self.note(f"line {outcome.line}: {prepared.reason}; kept without text")
        elif prepared.failures:
            self.failing += 1
            self.note(f"line {outcome.line}: {outcome.problem}")
