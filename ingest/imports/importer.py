"""Brings finished conversations from elsewhere through the scrubber into the inbox. Knows no HTTP and no file format.

Importing again adds nothing, so an import that was interrupted goes on where it was when it is begun again. A file is
a batch: it is admitted when all of it was read and it is like the last ones. `lookup` says what is known of a
conversation, `prepare` scrubs and checks it, `keep` writes what is new.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ingest.formats.files import FileConversation, LineProblem, parsed
from ingest.imports.batches import Batches, BatchMetrics
from ingest.imports.keep import ConversationKeeper, OpenConversation
from ingest.imports.lookup import ConversationLookup
from ingest.imports.prepare import PreparedConversation, Preparer
from ingest.imports.result import ImportOutcome, ImportResult
from ingest.inbox.validation import CheckedTurn, Validator
from shoptalk.crypto import Secrets
from shoptalk.domain import new_id
from shoptalk.errors import InvalidInput
from shoptalk.moves import BATCH
from shoptalk.owners import IMPORT
from shoptalk.ports import Inbox, Scrubber
from shoptalk.store import Store
from shoptalk.store.ingest import imports

CHUNK: Final = 20  # conversations that are read, scrubbed and kept together
MOST_NAME: Final = 200


@dataclass(slots=True)
class _Import:
    """One import as it goes on."""

    owner: str
    dry_run: bool
    each: Callable[[ImportOutcome], None] | None
    result: ImportResult
    metrics: BatchMetrics
    #: None where it is no batch
    batch_id: str | None

    def report(self, outcome: ImportOutcome) -> None:
        if self.each:
            self.each(outcome)


class Importer:
    """Imports conversations."""

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
        self._secrets = secrets
        self._validator = validator
        self._lookup = ConversationLookup(secrets, scrubber.version)
        self._preparer = Preparer(secrets, scrubber, validator, store.clock.business)
        self._keeper = ConversationKeeper(inbox, secrets, scrubber.version, self._lookup, open_conversation)
        self._batches = Batches(store)

    def import_conversations(
        self,
        items: Iterable[FileConversation | LineProblem],
        dry_run: bool = False,
        progress: Callable[[int], None] | None = None,
        source: str | None = None,
        each: Callable[[ImportOutcome], None] | None = None,
        owner: str = IMPORT,
    ) -> ImportResult:
        """Import conversations read from anywhere. With the name of a `source` they are a batch, which may be held.

        They belong to the `owner`: those that are there continue where they are theirs. What is another customer's is
        refused with its line. `progress` gets the number read so far, `each` the outcomes.

        Raises InvalidInput where reading `items` does. What was read before is kept and its batch left open, as it is
        whatever else ends the import: importing the same again goes on with it.
        """
        batch_id, metrics = self._begin(source, owner) if source and not dry_run else (None, BatchMetrics())
        this = _Import(owner, dry_run, each, ImportResult(), metrics, batch_id)
        waiting: list[FileConversation] = []
        try:
            for item in items:
                this.result.read += 1
                if isinstance(item, LineProblem):
                    self._note(this, item)
                else:
                    waiting.append(item)
                if len(waiting) >= CHUNK:
                    self._keep(this, waiting)
                if progress:
                    progress(this.result.read)
        except InvalidInput as error:
            self._keep(this, waiting)
            raise _interrupted(error, batch_id if this.result.read else None) from None
        self._keep(this, waiting)
        if batch_id:
            closed = self._batches.close(batch_id)
            this.result.batch, this.result.held = (closed.id, closed.state), list(closed.reasons)
        return this.result

    def import_batch(self, rows: Sequence[Mapping[str, Any]], owner: str = IMPORT) -> list[dict[str, Any]]:
        """Import conversations given as the lines of a file are; return state, turns and problem of each, in order."""
        found: list[ImportOutcome] = []
        self.import_conversations((parsed(n, row) for n, row in enumerate(rows, 1)), each=found.append, owner=owner)
        found.sort(key=lambda outcome: outcome.line)
        return [{"state": each.state, "turns": each.turns, "problem": each.problem} for each in found]

    def _begin(self, source: str, owner: str) -> tuple[str, BatchMetrics]:
        """Return the batch of an import of this source that was interrupted, else a new one."""
        digest = self._secrets.digest("import source", source if owner == IMPORT else f"{owner}\0{source}")
        with self._store.write() as conn:
            if known := imports.still_open(conn, digest):
                metrics = BatchMetrics.of(known.report)
                metrics.unreadable = 0  # reading begins at the beginning
                return known.id, metrics
            now = self._store.now()
            batch = imports.Batch(new_id("bat"), digest, source[:MOST_NAME], BATCH.initial, [], {}, now, now)
            imports.open_batch(conn, batch)
            return batch.id, BatchMetrics()

    @staticmethod
    def _note(this: _Import, problem: LineProblem) -> None:
        this.result.failed += 1
        this.metrics.unreadable += 1
        this.result.note(str(problem))
        this.report(ImportOutcome(problem.line, "refused", problem=str(problem)))

    def _keep(self, this: _Import, waiting: list[FileConversation]) -> None:
        """Scrub, check and keep the conversations that wait, and empty the list."""
        with self._store.read() as conn:
            items = self._lookup.incoming(conn, waiting, this.owner)
            fresh = self._lookup.to_scrub(conn, items)
        ready = {id(each.item): each for each in self._preparer.prepare(fresh)}
        for prepared in ready.values():
            self._measure(this.metrics, prepared)
        with self._store.read() if this.dry_run else self._store.write() as conn:
            outcomes = [
                self._keeper.keep(conn, item, ready.get(id(item)), this.batch_id, this.dry_run) for item in items
            ]
            if this.batch_id and not this.dry_run:
                imports.report(conn, this.batch_id, this.metrics.as_dict())
        for item, outcome in zip(items, outcomes, strict=True):
            this.result.count(outcome, ready.get(id(item)))
            this.report(outcome)
        waiting.clear()

    def _measure(self, metrics: BatchMetrics, prepared: PreparedConversation) -> None:
        turns = [CheckedTurn(turn.role, turn.text, None) for turn in prepared.turns]
        removed = sum((Counter(turn.pii) for turn in prepared.turns), Counter[str]())
        metrics.add(turns, self._validator.language(turns), prepared.failures, removed)


def _interrupted(error: InvalidInput, batch_id: str | None) -> InvalidInput:
    """Return the error of reading, with what to do about the batch that it left open."""
    if batch_id is None:
        return error
    return InvalidInput(
        f"{error.message}; what was read before that waits in batch {batch_id}",
        field=error.field,
        fix="import it again when it is fixed, or admit that with 'shoptalk batches release'",
    )
