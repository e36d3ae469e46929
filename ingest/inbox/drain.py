"""Admits what arrived: validates, scans once more, stores. Knows no HTTP, no files and no models.

Everything is computed before the transaction; inside it there are only writes, and the arrival's removal is the
first of them. If another drain removed it already, the transaction ends with nothing written; if this process dies,
the arrival is still there. So each arrival takes effect exactly once.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Protocol

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError

from shoptalk.crypto import Secrets
from shoptalk.errors import ConfigurationError, InvalidInput, ScrubbingFailed
from shoptalk.events import Caller, Exchange, FeedbackIn, read
from shoptalk.store import Store
from shoptalk.store.chat import chats, inferences
from shoptalk.store.conversation_ids import erased_on_its_way
from shoptalk.store.ingest import feedback, inbox, quarantine, topics, turns
from shoptalk.store.ingest.inbox import Arrival

log = structlog.get_logger(__name__)
TELL_EVERY_S: Final = 60.0
CLAIM: Final = timedelta(seconds=30)  # so long the arrivals of a drain that died are left alone
EARLY: Final = timedelta(hours=1)  # so long feedback waits for the inference it is about


class Scanner(Protocol):
    """Looks for personal data in text that should hold none."""

    def remaining(self, *texts: str) -> Mapping[str, int]: ...


@dataclass(frozen=True, slots=True)
class DrainResult:
    """What one run did. `duplicates` are turns and feedback that were there already, `erased` came after an erasure."""

    turns: int = 0
    feedback: int = 0
    quarantined: int = 0
    duplicates: int = 0
    erased: int = 0

    def __add__(self, other: DrainResult) -> DrainResult:
        return DrainResult(
            self.turns + other.turns, self.feedback + other.feedback,
            self.quarantined + other.quarantined, self.duplicates + other.duplicates, self.erased + other.erased,
        )  # fmt: skip

    def __bool__(self) -> bool:
        return self != DrainResult()


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be written for one arrival."""

    arrival: Arrival
    conversation: str
    item: Exchange | FeedbackIn | None
    problem: str | None = None
    sealed: bytes | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)


class _Gone(Exception):
    """Another drain was first."""


class _NotYet(Exception):
    """It must wait for something else to be admitted."""


class Drain:
    """Moves arrivals into turns, feedback and quarantine. Several may run at once."""

    def __init__(self, store: Store, secrets: Secrets, scrubber: Scanner) -> None:
        self._store = store
        self._secrets = secrets
        self._scanner = scrubber
        self._tell_at = 0.0

    def run_once(self, limit: int = 200) -> DrainResult:
        """Take about `limit` of the oldest arrivals, one short transaction each.

        What this process's key does not open waits, and is told now and then; the rest goes past it.
        """
        total, taken, locked, after = DrainResult(), 0, 0, 0
        claimed: set[int] = set()
        try:
            while taken < limit:
                with self._store.write() as conn:
                    found = inbox.claim(conn, limit, self._store.clock.machine.now() + CLAIM, after=after)
                claimed |= {arrival.seq for arrival in found}
                for arrival in found:
                    try:
                        total += self._admit(arrival)
                    except ConfigurationError:
                        locked += 1
                        continue
                    except _NotYet:
                        continue
                    except _Gone:
                        pass
                    claimed.remove(arrival.seq)
                    taken += 1
                if len(found) < limit:
                    break
                after = found[-1].seq
        finally:
            self._give_back(sorted(claimed))
        if locked and self._store.clock.machine.monotonic() >= self._tell_at:
            self._tell_at = self._store.clock.machine.monotonic() + TELL_EVERY_S
            log.error(
                "arrivals were encrypted with another key and wait; give the API and all workers the same "
                "SHOPTALK_SECRET_KEY",
                arrivals=locked,
            )
        return total

    def _give_back(self, seqs: list[int]) -> None:
        """Where that fails, as whatever ended the run may have, the claims end by themselves."""
        if seqs:
            with contextlib.suppress(SQLAlchemyError), self._store.write() as conn:
                inbox.give_back(conn, seqs)

    def _admit(self, arrival: Arrival) -> DrainResult:
        """Raises ConfigurationError where it cannot be opened."""
        plan = self._plan(arrival)
        with self._store.write() as conn:
            return _write(conn, plan, self._secrets)

    def _plan(self, arrival: Arrival) -> _Plan:
        conversation = arrival.conversation_id
        try:
            item = read(arrival.kind, self._secrets.decrypt(arrival.body))
            if isinstance(item, FeedbackIn) and item.caller:
                conversation = self._conversation(arrival, item, item.caller)
        except InvalidInput as error:
            return _Plan(arrival, conversation, None, f"invalid: {error.message}", arrival.body)
        if isinstance(item, Exchange) and item.failures:
            return _Plan(arrival, conversation, None, "; ".join(item.failures), arrival.body)
        texts = _texts(item)
        if problem := self._problem(texts):
            return _Plan(arrival, conversation, None, problem, arrival.body)
        hashes = {name: content_hash(text) for name, text in texts.items()}
        return _Plan(arrival, conversation, item, hashes=hashes)

    def _conversation(self, arrival: Arrival, item: FeedbackIn, caller: Caller) -> str:
        """Of feedback that came before its inference; raises InvalidInput where that never came or is another's."""
        with self._store.read() as conn:
            inference = inferences.find(conn, item.inference_id or "")
            opened = chats.find(conn, inference.conversation_id) if inference else None
        if inference is None:
            if arrival.created_at > self._store.now() - EARLY:
                raise _NotYet
            raise InvalidInput("inference_id: no such inference came within an hour", field="inference_id")
        if opened is None or opened.owner != caller.whose or caller.customer not in (None, opened.customer):
            raise InvalidInput("inference_id: is another's", field="inference_id")
        return opened.id

    def _problem(self, texts: Mapping[str, str]) -> str | None:
        try:
            found = self._scanner.remaining(*texts.values())
        except ScrubbingFailed as error:
            return f"the second scan failed: {error.message}"
        return f"the second scan found {', '.join(sorted(found))}" if found else None


def content_hash(text: str | None) -> str:
    """SHA-256 of the words, lower case: equal for texts that say the same."""
    return hashlib.sha256(" ".join((text or "").casefold().split()).encode("utf-8", "surrogatepass")).hexdigest()


def _texts(item: Exchange | FeedbackIn) -> dict[str, str]:
    if isinstance(item, FeedbackIn):
        return {} if item.comment is None else {item.id: item.comment}
    texts = {turn.id: turn.text for turn in item.turns if turn.text is not None}
    return {**texts, **{f"revision {name}": text for name, text in item.revisions.items()}}


def _write(conn: sa.Connection, plan: _Plan, secrets: Secrets) -> DrainResult:
    arrival, item = plan.arrival, plan.item
    if not inbox.remove(conn, [arrival.seq]):
        raise _Gone
    if erased_on_its_way(conn, secrets, plan.conversation):
        return DrainResult(erased=1)
    if item is None:
        reason = plan.problem or "invalid"
        quarantine.add(conn, arrival.id, arrival.kind, plan.conversation, reason, plan.sealed, arrival.customer)
        return DrainResult(quarantined=1)
    if isinstance(item, FeedbackIn):
        new = feedback.add(conn, item.feedback(plan.conversation))
        if new:
            turns.add_pii_counts(conn, arrival.id, plan.conversation, item.pii, item.scrubber)
        return DrainResult(feedback=int(new), duplicates=int(not new))
    admitted, counts = 0, Counter[str]()
    for turn in item.turns:
        # a turn without text has the hash of nothing
        digest = plan.hashes.get(turn.id) or content_hash(None)
        if turns.add(conn, turn.turn(arrival.conversation_id, arrival.customer), arrival.seq, digest):
            admitted += 1
            counts.update(turn.pii)
    known = turns.many(conn, list(item.revisions))
    for turn_id, text in item.revisions.items():
        turn_before = known.get(turn_id)
        if turn_before is None and inbox.waits_before(conn, arrival.conversation_id, arrival.seq):
            raise _NotYet  # the turn to be revised is still with another drain
        if turn_before is None or turn_before.text is None or turn_before.conversation_id != arrival.conversation_id:
            continue
        turns.rewrite(conn, turn_id, text, plan.hashes[f"revision {turn_id}"])
        topics.forget(conn, [turn_id])
    if item.superseded and inbox.waits_before(conn, arrival.conversation_id, arrival.seq):
        raise _NotYet  # the former version is still with another drain
    for turn_id in turns.supersede(conn, arrival.conversation_id, item.superseded):
        topics.forget(conn, [turn_id])
    turns.add_pii_counts(conn, arrival.id, arrival.conversation_id, counts, item.scrubber)
    return DrainResult(turns=admitted, duplicates=len(item.turns) - admitted)
