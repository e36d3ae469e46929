"""Brings finished conversations from elsewhere through the scrubber into the inbox. Knows no HTTP and no tables' SQL.

Importing a file again adds nothing: ids follow from the conversation's public id, the turn's position and a keyed
hash of its raw text. Metadata is not kept. What customers said is scrubbed with values found later carried back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from ingest.files import FileConversation, Problem, read_conversations
from shoptalk.domain import Message, now
from shoptalk.errors import ScrubbingFailed
from shoptalk.ports import Inbox, Scrubbed, Scrubber
from shoptalk.secrets import Secrets
from shoptalk.store import Store, erasures, turns

BATCH: Final = 20
MOST_PROBLEMS: Final = 100

OpenConversation = Callable[[sa.Connection, str, str | None], object]


@dataclass(slots=True)
class ImportResult:
    """What an import did, or would do.

    `erased` are conversations left out since their customer or they themselves were erased; `turns` and `pii` count
    what is new; `problems` are the first hundred.
    """

    read: int = 0
    new: int = 0
    unchanged: int = 0
    failed: int = 0
    erased: int = 0
    turns: int = 0
    pii: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def note(self, problem: str) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)


@dataclass(frozen=True, slots=True)
class _Ready:
    """One conversation, scrubbed, with all its turns as payload."""

    line: int
    conversation: str
    customer: str | None
    turns: list[dict[str, Any]]
    reason: str | None


class Importer:
    """Imports conversation files. `open_conversation(conn, id, customer_hash)` is the chatbot's way of opening one."""

    def __init__(
        self, store: Store, inbox: Inbox, scrubber: Scrubber, secrets: Secrets, open_conversation: OpenConversation
    ) -> None:
        self._store = store
        self._inbox = inbox
        self._scrubber = scrubber
        self._secrets = secrets
        self._open = open_conversation

    def import_file(
        self, path: Path, dry_run: bool = False, progress: Callable[[int], None] | None = None
    ) -> ImportResult:
        """Import every valid line; `progress` hears how many lines were read."""
        return self.import_conversations(read_conversations(path), dry_run, progress)

    def import_conversations(
        self,
        items: Iterable[FileConversation | Problem],
        dry_run: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> ImportResult:
        """Import conversations read from anywhere."""
        result = ImportResult()
        batch: list[FileConversation] = []
        for item in items:
            result.read += 1
            if isinstance(item, Problem):
                result.failed += 1
                result.note(str(item))
            else:
                batch.append(item)
            if len(batch) >= BATCH:
                self._keep(self._scrubbed(batch), result, dry_run)
                batch = []
            if progress:
                progress(result.read)
        self._keep(self._scrubbed(batch), result, dry_run)
        return result

    def _scrubbed(self, batch: Sequence[FileConversation]) -> list[_Ready]:
        """Read together, which takes less time than one by one."""
        messages = [[Message(turn.role, turn.text) for turn in item.turns] for item in batch]
        outcomes = self._scrubber.scrub_many(messages)
        return [self._ready(item, outcome) for item, outcome in zip(batch, outcomes, strict=True)]

    def _ready(self, item: FileConversation, outcome: Scrubbed | ScrubbingFailed) -> _Ready:
        conversation = self._secrets.conversation(item.id)
        customer = None if item.customer is None else self._secrets.customer(item.customer)
        reason: str | None = None
        texts: list[str | None]
        counts: list[Mapping[str, int]]
        if isinstance(outcome, ScrubbingFailed):
            reason = f"scrubbing failed: {outcome.message}"[:200]
            texts, counts = [None] * len(item.turns), [{}] * len(item.turns)
        else:
            texts, counts = list(outcome.final), list(outcome.counts)
        rows: list[dict[str, Any]] = []
        at = item.started_at or now()
        for position, turn in enumerate(item.turns):
            at = _later(turn.at, at if position else at - timedelta(microseconds=1))
            digest = self._secrets.digest("import turn", f"{conversation}\0{position}\0{turn.role}\0{turn.text}")
            rows.append(
                {"id": f"trn_{digest[:32]}", "parent_id": rows[-1]["id"] if rows else None, "role": turn.role,
                 "text": texts[position], "reason": reason, "inference_id": None, "at": at.isoformat(),
                 "pii": dict(counts[position])}
            )  # fmt: skip
        return _Ready(item.line, conversation, customer, rows, reason)

    def _keep(self, batch: list[_Ready], result: ImportResult, dry_run: bool) -> None:
        if not batch:
            return
        with self._store.read() as conn:
            kept = [ready for ready in batch if not self._buried(conn, ready)]
            known = turns.many(conn, [row["id"] for ready in kept for row in ready.turns])
        result.erased += len(batch) - len(kept)
        stored = {turn_id: turn.text for turn_id, turn in known.items()}
        plans = [(ready, self._payload(ready, stored)) for ready in kept]
        if dry_run:
            for ready, payload in plans:
                _count(result, ready, payload, accepted=payload is not None)
            return
        outcomes: list[bool] = []
        with self._store.write() as conn:
            for ready, payload in plans:
                outcomes.append(payload is not None and self._accept(conn, ready, payload))
        for (ready, payload), accepted in zip(plans, outcomes, strict=True):
            _count(result, ready, payload, accepted)

    def _buried(self, conn: sa.Connection, ready: _Ready) -> bool:
        whose = [ready.conversation] if ready.customer is None else [ready.conversation, ready.customer]
        return erasures.buried(conn, [self._secrets.tombstone(id) for id in whose])

    def _payload(self, ready: _Ready, stored: Mapping[str, str | None]) -> dict[str, Any] | None:
        """What of a conversation is not stored yet; None where all of it is."""
        fresh = [row for row in ready.turns if row["id"] not in stored]
        revisions = {
            row["id"]: row["text"]
            for row in ready.turns
            if row["text"] is not None and stored.get(row["id"]) not in (None, row["text"])
        }
        if not fresh and not revisions:
            return None
        return {"source": "import", "scrubber": self._scrubber.version, "turns": fresh, "revisions": revisions}

    def _accept(self, conn: sa.Connection, ready: _Ready, payload: dict[str, Any]) -> bool:
        if self._buried(conn, ready):  # while this batch was read
            return False
        self._open(conn, ready.conversation, ready.customer)
        revised = sorted(payload["revisions"].items())
        names = "\0".join([row["id"] for row in payload["turns"]] + [part for pair in revised for part in pair])
        arrival = "arr_" + self._secrets.digest("import arrival", f"{ready.conversation}\0{names}")[:32]
        return self._inbox.accept(conn, arrival, "exchange", ready.conversation, payload)


def _count(result: ImportResult, ready: _Ready, payload: dict[str, Any] | None, accepted: bool) -> None:
    if not accepted or payload is None:
        result.unchanged += 1
        return
    result.new += 1
    result.turns += len(payload["turns"])
    totals = Counter(result.pii)
    for row in payload["turns"]:
        totals.update(row["pii"])
    result.pii = dict(totals)
    if ready.reason:
        result.failed += 1
        result.note(f"line {ready.line}: {ready.reason}; kept without text")


def _later(given: datetime | None, before: datetime) -> datetime:
    """The given time, moved where needed so that turns keep their order."""
    least = before + timedelta(microseconds=1)
    return least if given is None or given < least else given
