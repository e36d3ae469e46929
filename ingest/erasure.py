"""Erases a customer, or one conversation, step by step. Knows no stage but its own: the other erasers are handed in.

An erasure begins in one transaction that also sets the tombstones, so that nothing more comes in. Then every eraser
runs, and runs once more for what was on its way meanwhile. Then, in a worker and for several at once, deleted content
is cleaned out of the database's files. Each step that is done is recorded, so after a crash the next one follows. When
all is done the erasure forgets who it was about and keeps a receipt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError

from shoptalk.crypto import Secrets
from shoptalk.domain import Erasure, ErasurePolicy, new_id
from shoptalk.errors import NotFound, ShoptalkError
from shoptalk.moves import ERASURE
from shoptalk.owners import IMPORT
from shoptalk.ports import Erased, Eraser
from shoptalk.store import Store, counters, erasures
from shoptalk.store.chat import chats, inferences
from shoptalk.store.conversation_ids import tombstone
from shoptalk.store.database import clean
from shoptalk.store.ingest import clusters, conversations, feedback, imports, inbox, quarantine, topics, turns

log = structlog.get_logger(__name__)
AGAIN: Final = ", once more"
CLEAN: Final = "clean"


class Erasures:
    """Begins erasures and carries them out. Several processes may work on one: each step is idempotent."""

    def __init__(
        self, store: Store, secrets: Secrets, erasers: Callable[[], Sequence[Eraser]], policy: ErasurePolicy
    ) -> None:
        """`erasers` makes them when they are first needed. `policy` is the default."""
        self._store, self._secrets, self._erasers, self._policy = store, secrets, erasers, policy

    def begin_customer(self, public_id: str, policy: ErasurePolicy | None = None) -> str:
        """Begin and return the erasure's id, the running one's where this customer has one. Durable when it returns."""
        customer = self._secrets.customer(public_id)
        with self._store.write() as conn:
            if known := erasures.running(conn, customer):
                return known[0].id
            inbox.erase_early(conn, customer)
            quarantine.erase_feedback(conn, customer)
            return self._begin(conn, customer, _conversations(conn, customer), policy)

    def begin_conversation(self, public_id: str, policy: ErasurePolicy | None = None, owner: str | None = None) -> str:
        """Begin to erase one conversation, such as an anonymous one; return the erasure's id.

        Without an `owner`, every owner's conversation of that id is erased. Nor can it be brought in any more: by that
        owner, or where none is named by the shop's own imports.
        """
        public = self._secrets.public_conversation(public_id)
        with self._store.write() as conn:
            found = [opened for opened in chats.named(conn, public) if owner in (None, opened.owner)]
            erasure_id = self._begin(conn, None, [opened.id for opened in found], policy)
            erasures.bury(conn, erasure_id, [tombstone(self._secrets, public, owner or IMPORT)])
            return erasure_id

    def _begin(
        self, conn: sa.Connection, customer: str | None, conversations: list[str], policy: ErasurePolicy | None
    ) -> str:
        erasure = Erasure(
            id=new_id("era"),
            state=ERASURE.initial,
            policy=policy or self._policy,
            customer=customer,
            conversations=conversations,
            inferences=inferences.of_conversations(conn, conversations),
            since=turns.first_admitted(conn, conversations),
            problem=None,
            receipt=None,
            created_at=self._store.now(),
            updated_at=self._store.now(),
        )
        erasures.add(conn, erasure)
        if customer:
            erasures.bury(conn, erasure.id, [self._secrets.tombstone(customer)])
        erasures.bury(conn, erasure.id, self._tombstones(conn, conversations))
        return erasure.id

    def _tombstones(self, conn: sa.Connection, conversations: list[str]) -> list[str]:
        """Return the tombstones of conversations: for their owners and for what is on its way to the drain."""
        opened, brought = chats.find_many(conn, conversations), imports.known(conn, conversations)
        found = [tombstone(self._secrets, id) for id in conversations]
        found += [tombstone(self._secrets, id, each.owner) for id, each in opened.items()]
        return found + [tombstone(self._secrets, id, IMPORT) for id in brought]

    def find(self, erasure_id: str) -> Erasure:
        """Return an erasure; raise NotFound."""
        with self._store.read() as conn:
            found = erasures.find(conn, erasure_id)
        if found is None:
            raise NotFound(f"There is no erasure {erasure_id[:80]}.")
        return found

    def run(self, erasure_id: str) -> Erasure:
        """Go on until only the database's files are left to clean, which `clean` does, or a step cannot be done now.

        In the latter case it has a problem. It is running either way.
        """
        erasure = self.find(erasure_id)
        if erasure.state not in ERASURE.final:
            self._guarded([erasure_id], lambda: self._steps(erasure))
        return self.find(erasure_id)

    def run_once(self) -> int:
        """Go on with those that are running; return how many are done now."""
        with self._store.read() as conn:
            waiting = erasures.running(conn)
        for erasure in waiting:
            self.run(erasure.id)
        return self.clean()

    def clean(self) -> int:
        """Clean deleted content out of the database's files, for all erasures that wait for this; return how many.

        It takes long on a large database, so no request waits for it. They are done then.
        """
        with self._store.read() as conn:
            steps = {erasure.id: (erasure, erasures.steps(conn, erasure.id)) for erasure in erasures.running(conn)}
        if not steps:
            return 0
        every = {f"{eraser.name}{again}" for eraser in self._erasers() for again in ("", AGAIN)}
        ready = [erasure for erasure, done in steps.values() if every <= done.keys()]
        if not ready:
            return 0
        ids = [erasure.id for erasure in ready]
        return len(ids) if self._guarded(ids, lambda: self._finish(ready)) else 0

    def _steps(self, erasure: Erasure) -> None:
        with self._store.read() as conn:
            done = erasures.steps(conn, erasure.id)
        erasers = self._erasers()
        for again in ("", AGAIN):
            for eraser in erasers:
                if (step := f"{eraser.name}{again}") not in done:
                    self._record(erasure.id, step, eraser.erase(_what(erasure, step)))

    def _finish(self, ready: Sequence[Erasure]) -> None:
        cleaned = clean(self._store)
        for erasure in ready:
            with self._store.read() as conn:
                recorded = CLEAN in erasures.steps(conn, erasure.id)  # by a worker that was killed then
            if not recorded:
                self._record(erasure.id, CLEAN, {"database": cleaned})
            state = ERASURE.after("finish", erasure.state, erasure.id)
            with self._store.write() as conn:
                receipt = _receipt(erasure, erasures.steps(conn, erasure.id), self._store.now())
                erasures.finish(conn, erasure.id, state, receipt)
            log.info("erased", erasure=erasure.id)
        clean(self._store)  # what they were about was in their rows until now

    def _guarded(self, erasure_ids: Sequence[str], work: Callable[[], None]) -> bool:
        """Do the work and return True; where it cannot be done record why with these erasures, and return False."""
        try:
            work()
        except (ShoptalkError, SQLAlchemyError, OSError) as error:
            problem = error.message if isinstance(error, ShoptalkError) else type(error).__name__
            log.warning("erasure waits", erasures=list(erasure_ids), problem=problem)
            with self._store.write() as conn:
                for erasure_id in erasure_ids:
                    erasures.fail(conn, erasure_id, problem)
            return False
        return True

    def _record(self, erasure_id: str, step: str, counts: Mapping[str, Any]) -> None:
        with self._store.write() as conn:
            erasures.step_done(conn, erasure_id, step, counts)


def _conversations(conn: sa.Connection, customer: str) -> list[str]:
    """Return what the customer opened, and what holds something that they said: each is erased as a whole."""
    tables = (chats, turns, inbox, quarantine)
    return sorted({id for table in tables for id in table.of_customer(conn, customer)})


def _what(erasure: Erasure, step: str) -> Erased:
    return Erased(
        erasure.id, erasure.policy, erasure.customer, tuple(erasure.conversations or ()),
        tuple(erasure.inferences or ()), erasure.since,
        done=lambda conn, counts: erasures.step_done(conn, erasure.id, step, counts),
    )  # fmt: skip


def _receipt(erasure: Erasure, steps: Mapping[str, Mapping[str, Any]], ended: datetime) -> dict[str, Any]:
    """Return counts and times; nothing that identifies the customer."""
    return {
        "id": erasure.id,
        "began": erasure.created_at.isoformat(),
        "ended": ended.isoformat(),
        "policy": erasure.policy,
        "conversations": len(erasure.conversations or ()),
        "removed": {
            name: dict(counts) for name, counts in steps.items() if not name.endswith(AGAIN) or any(counts.values())
        },
    }


class IngestEraser:
    """Erases from the inbox, quarantine and what was admitted."""

    name: Final = "ingest"
    covers: Final = frozenset({
        "arrivals", "turns", "admitted_conversations", "feature_queue", "turn_features", "turn_topics", "near_clusters",
        "near_bands", "pii_counts", "feedback", "quarantine", "imported", "import_batches", "erasures", "erasure_steps",
    })  # fmt: skip

    def __init__(self, store: Store) -> None:
        self._store = store

    def erase(self, what: Erased) -> dict[str, int]:
        """Erase in one transaction; return the number removed, by table."""
        ids = [*what.conversations, *what.inferences]  # early feedback knows only the inference
        with self._store.write() as conn:
            topics.forget(conn, turns.ids_of(conn, what.conversations))
            replies = inferences.admitted(conn, what.conversations)
            changes, empty = turns.erase(conn, what.conversations)
            clusters.erase(conn, empty)
            imports.forget(conn, what.conversations)
            votes, of_votes = feedback.erase(conn, ids)
            begun = conversations.erase(conn, what.conversations)
            counts = {
                "arrivals": inbox.erase(conn, ids),
                "turns": -round(changes[turns.TURNS]),
                "feedback": votes,
                "quarantine": quarantine.erase(conn, ids),
            }
            changes |= {f"{inferences.REPLIES}:{adapter}": -n for adapter, n in replies.items()}
            counters.add(conn, {**changes, **of_votes, conversations.TOTAL: -begun})
            what.done(conn, counts)
        return counts
