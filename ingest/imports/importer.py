"""Brings finished conversations from elsewhere through the scrubber into the inbox. Knows no HTTP and no file format.

Importing again adds nothing: what is known is told by a keyed digest of all that was said, before anything is
scrubbed, so an import that was interrupted goes on where it was when it is begun again. A conversation that changed is
a new version: turns it has no more are superseded. Metadata is not kept. What customers said is scrubbed with values
found later carried back. A file is a batch: it is admitted when all of it was read and it is like the last ones.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import sqlalchemy as sa

from ingest.formats.files import FileConversation, Problem, parsed
from ingest.imports.batches import Batches, Figures
from ingest.inbox.validation import Conversation, Failure, Said, Validator
from shoptalk.crypto import Secrets
from shoptalk.domain import Message, new_id
from shoptalk.errors import InvalidInput, ScrubbingFailed
from shoptalk.owners import IMPORT
from shoptalk.ports import Inbox, Scrubbed, Scrubber
from shoptalk.store import Store, erasures
from shoptalk.store.chat import chats
from shoptalk.store.conversation_ids import erased, stored_ids
from shoptalk.store.ingest import imports, quarantine, turns
from shoptalk.store.ingest import inbox as arrivals

BATCH: Final = 20
MOST_PROBLEMS: Final = 100
MOST_NAME: Final = 200

OpenConversation = Callable[[sa.Connection, chats.Opened], bool]
OTHER_CUSTOMER: Final = ("customer_id", "this conversation is another customer's; give it an id of its own")
OTHER_OWNER: Final = ("conversation_id", "this conversation is another owner's; give it an id of its own")
CHANGED: Final = ("", "it was changed while it was read; import it again")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one conversation: new, changed, unchanged, erased (it came after an erasure) or refused.

    `problem` says what is wrong with it, without quoting it.
    """

    line: int
    state: Literal["new", "changed", "unchanged", "erased", "refused"]
    turns: int = 0
    problem: str | None = None


@dataclass(slots=True)
class ImportResult:
    """What an import did, or would do.

    `failed` are lines that cannot be read, conversations that are another's and those that could not be scrubbed;
    `failing` go to quarantine for failing a check; `erased` are left out since their customer or they themselves were
    erased; `turns` and `pii` count what is new; `problems` are the first hundred. `batch` is the batch's id and state.
    """

    read: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    failed: int = 0
    failing: int = 0
    erased: int = 0
    turns: int = 0
    pii: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    batch: tuple[str, str] | None = None
    held: list[str] = field(default_factory=list)

    def note(self, problem: str) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)


@dataclass(frozen=True, slots=True)
class _Item:
    """A conversation as it came, and what it is known by here."""

    raw: FileConversation
    opened: chats.Opened
    digest: str

    @property
    def conversation(self) -> str:
        return self.opened.id

    @property
    def customer(self) -> str | None:
        return self.opened.customer


@dataclass(frozen=True, slots=True)
class _Ready:
    """One conversation, scrubbed and checked, with all its turns as payload."""

    item: _Item
    turns: list[dict[str, Any]]
    reason: str | None
    failures: list[Failure]


class Importer:
    """Imports conversations. `open_conversation` is the chatbot's way of opening one; it says whether it was new."""

    def __init__(
        self,
        store: Store,
        inbox: Inbox,
        scrubber: Scrubber,
        secrets: Secrets,
        open_conversation: OpenConversation,
        validator: Validator,
    ) -> None:
        self._store = store
        self._inbox = inbox
        self._scrubber = scrubber
        self._secrets = secrets
        self._open = open_conversation
        self._validator = validator
        self._batches = Batches(store)

    def import_conversations(
        self,
        items: Iterable[FileConversation | Problem],
        dry_run: bool = False,
        progress: Callable[[int], None] | None = None,
        source: str | None = None,
        each: Callable[[Outcome], None] | None = None,
        owner: str = IMPORT,
    ) -> ImportResult:
        """Import conversations read from anywhere. With the name of a `source` they are a batch, which may be held.

        They belong to the `owner`: those that are there continue where they are theirs. What is another customer's is
        refused with its line.

        Raises InvalidInput where reading `items` does; what was read before is kept, and its batch left open, as it is
        whatever else ends the import: importing the same again goes on with it.
        """
        result = ImportResult()
        batch_id, figures = self._begin(source, owner) if source and not dry_run else (None, Figures())
        waiting: list[FileConversation] = []

        def keep() -> None:
            for outcome in self._keep(waiting, result, figures, batch_id, dry_run, owner):
                if each:
                    each(outcome)
            waiting.clear()

        try:
            for item in items:
                result.read += 1
                if isinstance(item, Problem):
                    result.failed += 1
                    figures.unreadable += 1
                    result.note(str(item))
                    if each:
                        each(Outcome(item.line, "refused", problem=str(item)))
                else:
                    waiting.append(item)
                if len(waiting) >= BATCH:
                    keep()
                if progress:
                    progress(result.read)
        except InvalidInput as error:
            keep()
            if batch_id and result.read:
                error = InvalidInput(
                    f"{error.message}; what was read before that waits in batch {batch_id}: import it again when it is "
                    "mended, or let it go with 'shoptalk batches release'",
                    field=error.field,
                )
            raise error from None
        keep()
        if batch_id:
            closed = self._batches.close(batch_id)
            result.batch, result.held = (closed.id, closed.state), list(closed.reasons)
        return result

    def import_batch(self, rows: Sequence[Mapping[str, Any]], owner: str = IMPORT) -> list[dict[str, Any]]:
        """Import conversations as the lines of a file; what became of each, in order: state, turns, problem."""
        told: list[Outcome] = []
        self.import_conversations((parsed(n, row) for n, row in enumerate(rows, 1)), each=told.append, owner=owner)
        return [{"state": o.state, "turns": o.turns, "problem": o.problem} for o in sorted(told, key=lambda o: o.line)]

    def _begin(self, source: str, owner: str) -> tuple[str, Figures]:
        """The batch of an import of this source that was interrupted, else a new one."""
        digest = self._secrets.digest("import source", source if owner == IMPORT else f"{owner}\0{source}")
        with self._store.write() as conn:
            if known := imports.still_open(conn, digest):
                figures = Figures.of(known.report)
                figures.unreadable = 0  # reading begins at the beginning
                return known.id, figures
            batch = imports.Batch(
                new_id("bat"), digest, source[:MOST_NAME], "open", [], {}, self._store.now(), self._store.now()
            )
            imports.open_batch(conn, batch)
            return batch.id, Figures()

    def _keep(
        self,
        raw: Sequence[FileConversation],
        result: ImportResult,
        figures: Figures,
        batch_id: str | None,
        dry_run: bool,
        owner: str,
    ) -> list[Outcome]:
        with self._store.read() as conn:
            places = self._places(conn, [each.id for each in raw], owner)
            items = [self._item(each, place, owner) for each, place in zip(raw, places, strict=True)]
            known = imports.known(conn, [item.conversation for item in items])
            there = chats.find_many(conn, [item.conversation for item in items])
            changed = [item for item in items if not self._same(item, known.get(item.conversation))]
            open_to = [item for item in changed if not _foreign(conn, item, there.get(item.conversation))]
            fresh = [item for item in open_to if not self._buried(conn, item)]
        ready = {id(each.item): each for each in self._scrubbed(fresh)}
        for found in ready.values():
            self._describe(figures, found)
        with self._store.read() if dry_run else self._store.write() as conn:
            outcomes = [self._outcome(conn, item, ready.get(id(item)), batch_id, dry_run) for item in items]
            if batch_id and not dry_run:
                imports.report(conn, batch_id, figures.as_dict())
        for item, outcome in zip(items, outcomes, strict=True):
            _count(result, outcome, ready.get(id(item)))
        return outcomes

    def _describe(self, figures: Figures, ready: _Ready) -> None:
        turns = [Said(row["role"], row["text"], None) for row in ready.turns]
        removed = sum((Counter(row["pii"]) for row in ready.turns), Counter[str]())
        figures.add(turns, self._validator.language(turns), ready.failures, removed)

    def _places(self, conn: sa.Connection, public_ids: Sequence[str], owner: str) -> list[str]:
        """Where each conversation is, or would be.

        Before there were owners, an import added to whatever had the same id; such an import is known again.
        """
        found = stored_ids(conn, self._secrets, public_ids, owner)
        if owner != IMPORT:
            return found
        former = [self._secrets.public_conversation(public) for public in public_ids]
        added = imports.known(conn, former)
        return [old if old in added else id for old, id in zip(former, found, strict=True)]

    def _item(self, raw: FileConversation, conversation: str, owner: str) -> _Item:
        said = [[turn.role, turn.text, turn.at.isoformat() if turn.at else None] for turn in raw.turns]
        told = json.dumps([raw.customer, said, sorted(raw.record.items())], ensure_ascii=True, separators=(",", ":"))
        customer = None if raw.customer is None else self._secrets.customer(raw.customer)
        opened = chats.Opened(conversation, owner, customer, self._secrets.public_conversation(raw.id))
        return _Item(raw, opened, self._secrets.digest("import content", told))

    def _same(self, item: _Item, known: imports.Known | None) -> bool:
        return known is not None and (known.digest, known.scrubber) == (item.digest, self._scrubber.version)

    def _buried(self, conn: sa.Connection, item: _Item) -> bool:
        if item.customer is not None and erasures.buried(conn, [self._secrets.tombstone(item.customer)]):
            return True
        return erased(conn, self._secrets, item.raw.id, item.opened.owner)

    def _scrubbed(self, items: Sequence[_Item]) -> list[_Ready]:
        """Read together, which takes less time than one by one."""
        messages = [[Message(turn.role, turn.text) for turn in item.raw.turns] for item in items]
        outcomes = self._scrubber.scrub_many(messages, [item.raw.record for item in items])
        return [self._ready(item, outcome) for item, outcome in zip(items, outcomes, strict=True)]

    def _ready(self, item: _Item, outcome: Scrubbed | ScrubbingFailed) -> _Ready:
        reason: str | None = None
        texts: list[str | None]
        counts: list[Mapping[str, int]]
        if isinstance(outcome, ScrubbingFailed):
            reason = f"scrubbing failed: {outcome.message}"[:200]
            texts, counts = [None] * len(item.raw.turns), [{}] * len(item.raw.turns)
        else:
            texts, counts = list(outcome.final), list(outcome.counts)
        rows: list[dict[str, Any]] = []
        at = item.raw.started_at or self._store.now()
        for position, turn in enumerate(item.raw.turns):
            at = _later(turn.at, at if position else at - timedelta(microseconds=1))
            digest = self._secrets.digest("import turn", f"{item.conversation}\0{position}\0{turn.role}\0{turn.text}")
            rows.append(
                {"id": f"trn_{digest[:32]}", "parent_id": rows[-1]["id"] if rows else None, "role": turn.role,
                 "text": texts[position], "reason": reason, "inference_id": None, "at": at.isoformat(),
                 "pii": dict(counts[position])}
            )  # fmt: skip
        checked = [Said(turn.role, text, turn.at) for turn, text in zip(item.raw.turns, texts, strict=True)]
        return _Ready(item, rows, reason, self._validator.failures(Conversation(checked, whole=True)))

    def _outcome(
        self, conn: sa.Connection, item: _Item, ready: _Ready | None, batch_id: str | None, dry_run: bool
    ) -> Outcome:
        """Seal what of a conversation is not here yet, and remember this version of it."""
        if self._buried(conn, item):
            return Outcome(item.raw.line, "erased")
        before = imports.known(conn, [item.conversation]).get(item.conversation)
        if before is not None and self._same(item, before):
            if not dry_run:
                _ascribe(conn, item, chats.find(conn, item.conversation), before.turn_ids)
            return Outcome(item.raw.line, "unchanged")
        # opened first, so that who else opens it waits and sees it
        new = not dry_run and self._open(conn, item.opened)
        opened = item.opened if new else chats.find(conn, item.conversation)
        foreign = None if new else _foreign(conn, item, opened)
        if foreign or ready is None:
            return Outcome(item.raw.line, "refused", problem=str(Problem(item.raw.line, *(foreign or CHANGED))))
        payload = self._payload(conn, ready, before)
        if not dry_run:
            version = 1 + (before.version if before else 0)
            ids = [row["id"] for row in ready.turns]
            imports.remember(conn, imports.Known(item.conversation, item.digest, self._scrubber.version, version, ids))
            _ascribe(conn, item, opened, ids)
            customer = item.customer or (opened.customer if opened else None)
            if payload is not None and not self._accepted(conn, item, payload, batch_id, customer):
                payload = None
        if payload is None:
            return Outcome(item.raw.line, "unchanged")
        problem = ready.reason or "; ".join(map(str, ready.failures)) or None
        return Outcome(item.raw.line, "changed" if before else "new", len(payload["turns"]), problem)

    def _accepted(
        self, conn: sa.Connection, item: _Item, payload: dict[str, Any], batch_id: str | None, customer: str | None
    ) -> bool:
        arrival = "arr_" + self._secrets.digest("import arrival", _names(item.conversation, payload))[:32]
        return self._inbox.accept(conn, arrival, "exchange", item.conversation, payload, batch_id, customer)

    def _payload(self, conn: sa.Connection, ready: _Ready, before: imports.Known | None) -> dict[str, Any] | None:
        """What of a conversation is not stored yet; None where all of it is."""
        ids = [row["id"] for row in ready.turns]
        stored = {turn_id: turn.text for turn_id, turn in turns.many(conn, ids).items()}
        on_their_way = set(before.turn_ids if before and arrivals.waits(conn, ready.item.conversation) else ())
        fresh = [row for row in ready.turns if row["id"] not in stored and row["id"] not in on_their_way]
        revisions = {
            row["id"]: row["text"]
            for row in ready.turns
            if row["text"] is not None and stored.get(row["id"]) not in (None, row["text"])
        }
        superseded = sorted(set(before.turn_ids) - set(ids)) if before else []
        if not fresh and not revisions and not superseded:
            return None
        return {
            "source": "import", "scrubber": self._scrubber.version, "turns": fresh, "revisions": revisions,
            "superseded": superseded, "failures": [str(failure) for failure in ready.failures],
        }  # fmt: skip


def _foreign(conn: sa.Connection, item: _Item, opened: chats.Opened | None) -> tuple[str, str] | None:
    """The field and reason why nothing may be added to the conversation: another owner's, or another customer's."""
    if opened is None:
        return None
    if opened.owner != item.opened.owner:
        return OTHER_OWNER
    if item.customer is None:
        return None
    places = (turns, arrivals, quarantine)
    present = {opened.customer} - {None}
    present |= {customer for place in places for customer in place.customers(conn, opened.id)}
    return OTHER_CUSTOMER if present - {item.customer} else None


def _ascribe(conn: sa.Connection, item: _Item, opened: chats.Opened | None, turn_ids: Sequence[str]) -> None:
    """What was imported before the customer was known, or known to matter, is the customer's whom it names now."""
    if item.customer is None or opened is None or opened.customer == item.customer:
        return
    turns.ascribe(conn, turn_ids, item.customer)
    arrivals.ascribe(conn, item.conversation, item.customer)
    quarantine.ascribe(conn, item.conversation, item.customer)


def _names(conversation: str, payload: Mapping[str, Any]) -> str:
    """What the arrival is known by: the same content, sent again, is the same arrival."""
    revised = [part for pair in sorted(payload["revisions"].items()) for part in pair]
    return "\0".join([conversation, *(row["id"] for row in payload["turns"]), *revised, *payload["superseded"]])


def _count(result: ImportResult, outcome: Outcome, ready: _Ready | None) -> None:
    if outcome.state == "refused":
        result.failed += 1
        result.note(outcome.problem or "")
        return
    if outcome.state in ("unchanged", "erased"):
        setattr(result, outcome.state, getattr(result, outcome.state) + 1)
        return
    assert ready is not None
    setattr(result, outcome.state, getattr(result, outcome.state) + 1)
    result.turns += outcome.turns
    result.pii = dict(sum((Counter(row["pii"]) for row in ready.turns[-outcome.turns :]), Counter(result.pii)))
    if ready.reason:
        result.failed += 1
        result.note(f"line {outcome.line}: {ready.reason}; kept without text")
    elif ready.failures:
        result.failing += 1
        result.note(f"line {outcome.line}: {outcome.problem}")


def _later(given: datetime | None, before: datetime) -> datetime:
    """The given time, moved where needed so that turns keep their order."""
    least = before + timedelta(microseconds=1)
    return least if given is None or given < least else given
