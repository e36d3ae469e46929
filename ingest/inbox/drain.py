"""Admits what is in the inbox: validates, scans once more, stores. Knows no HTTP, no files and no models.

Everything is computed before the transaction. Inside it there are only writes, and the entry's removal is the first of
them. If another drain removed it already, the transaction ends with nothing written; if this process dies, the entry
is still there. So each entry takes effect exactly once.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Protocol

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError

from shoptalk.crypto import Secrets
from shoptalk.domain import EXACT_VARIANT, Inference
from shoptalk.errors import ConfigurationError, InvalidInput, ScrubbingFailed
from shoptalk.events import ExchangeRecorded, FeedbackReceived, FeedbackSender, Payload, read
from shoptalk.store import Store, counters
from shoptalk.store.chat import chats, inferences
from shoptalk.store.conversation_ids import erased_on_its_way
from shoptalk.store.ingest import conversations, feedback, inbox, quarantine, topics, turns
from shoptalk.store.ingest.inbox import InboxEntry

log = structlog.get_logger(__name__)
LOG_EVERY_S: Final = 60.0
CLAIM: Final = timedelta(seconds=30)  # how long the entries of a drain that died are left alone
EARLY: Final = timedelta(hours=1)  # how long feedback waits for the inference it is about


class Scanner(Protocol):
    """Looks for personal data in text that should hold none."""

    def remaining(self, *texts: str) -> Mapping[str, int]:
        """Return the number of values found, by type; empty is good. Raises ScrubbingFailed."""
        ...


@dataclass(frozen=True, slots=True)
class DrainResult:
    """Counts of what one run did.

    `duplicates` are turns and feedback that were there already, `erased` are entries that came after an erasure.
    """

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
    """The writes for one entry: its `payload`, or where there is none a quarantine entry."""

    entry: InboxEntry
    conversation: str
    payload: Payload | None
    problem: str | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)


class _Gone(Exception):
    """Another drain was first."""


class _NotYet(Exception):
    """The entry must wait for something else to be admitted."""


class Drain:
    """Moves inbox entries into turns, feedback and quarantine. Several may run at once."""

    def __init__(self, store: Store, secrets: Secrets, scrubber: Scanner) -> None:
        self._store = store
        self._secrets = secrets
        self._scanner = scrubber
        self._log_at = 0.0

    def run_once(self, limit: int = 200) -> DrainResult:
        """Take about `limit` of the oldest entries, one short transaction each.

        What this process's keys do not decrypt waits, and is logged once a minute; the rest goes past it.
        """
        total, taken, locked, after = DrainResult(), 0, 0, 0
        claimed: set[int] = set()
        try:
            while taken < limit:
                with self._store.write() as conn:
                    found = inbox.claim(conn, limit, self._store.clock.machine.now() + CLAIM, after=after)
                claimed |= {entry.seq for entry in found}
                for entry in found:
                    try:
                        total += self._admit(entry)
                    except ConfigurationError:
                        locked += 1
                        continue
                    except _NotYet:
                        continue
                    except _Gone:
                        pass
                    claimed.remove(entry.seq)
                    taken += 1
                if len(found) < limit:
                    break
                after = found[-1].seq
        finally:
            self._give_back(sorted(claimed))
        if locked:
            self._log_locked(locked)
        return total

    def _log_locked(self, count: int) -> None:
        now = self._store.clock.machine.monotonic()
        if now >= self._log_at:
            self._log_at = now + LOG_EVERY_S
            log.error(
                "inbox entries were encrypted with another key and wait; give the API and all workers the same "
                "SHOPTALK_SECRET_KEY",
                arrivals=count,
            )

    def _give_back(self, seqs: list[int]) -> None:
        """End the claims. Where that fails, as what ended the run may have, they end by themselves."""
        if seqs:
            with contextlib.suppress(SQLAlchemyError), self._store.write() as conn:
                inbox.give_back(conn, seqs)

    def _admit(self, entry: InboxEntry) -> DrainResult:
        """Raises ConfigurationError where it cannot be decrypted."""
        plan = self._plan(entry)
        with self._store.write() as conn:
            return _write(conn, plan, self._secrets)

    def _plan(self, entry: InboxEntry) -> _Plan:
        conversation = entry.conversation_id
        try:
            payload = read(entry.kind, self._secrets.decrypt(entry.body))
            if isinstance(payload, FeedbackReceived) and payload.caller:
                conversation = self._conversation(entry, payload, payload.caller)
        except InvalidInput as error:
            return _Plan(entry, conversation, None, f"invalid: {error.message}")
        if isinstance(payload, ExchangeRecorded) and payload.failures:
            return _Plan(entry, conversation, None, "; ".join(payload.failures))
        texts = _texts(payload)
        if problem := self._problem(texts):
            return _Plan(entry, conversation, None, problem)
        hashes = {name: content_hash(text) for name, text in texts.items()}
        return _Plan(entry, conversation, payload, hashes=hashes)

    def _conversation(self, entry: InboxEntry, received: FeedbackReceived, sender: FeedbackSender) -> str:
        """Return the conversation of feedback that came before its inference.

        Raises InvalidInput where that never came or belongs to another owner or customer.
        """
        with self._store.read() as conn:
            inference = inferences.find(conn, received.inference_id or "")
            opened = chats.find(conn, inference.conversation_id) if inference else None
        if inference is None:
            if entry.created_at > self._store.now() - EARLY:
                raise _NotYet
            raise InvalidInput("inference_id: no such inference came within an hour", field="inference_id")
        if opened is None or opened.owner != sender.owner_id or sender.customer not in (None, opened.customer):
            raise InvalidInput("inference_id: is another's", field="inference_id")
        return opened.id

    def _problem(self, texts: Mapping[str, str]) -> str | None:
        """Return what the second scan found, or None."""
        try:
            found = self._scanner.remaining(*texts.values())
        except ScrubbingFailed as error:
            return f"the second scan failed: {error.message}"
        return f"the second scan found {', '.join(sorted(found))}" if found else None


def content_hash(text: str | None) -> str:
    """Return the SHA-256 of the words in lower case: equal for texts that say the same."""
    return hashlib.sha256(" ".join((text or "").casefold().split()).encode("utf-8", "surrogatepass")).hexdigest()


def _texts(payload: Payload) -> dict[str, str]:
    if isinstance(payload, FeedbackReceived):
        return {} if payload.comment is None else {payload.id: payload.comment}
    texts = {turn.id: turn.text for turn in payload.turns if turn.text is not None}
    return {**texts, **{f"revision {name}": text for name, text in payload.revisions.items()}}


def _write(conn: sa.Connection, plan: _Plan, secrets: Secrets) -> DrainResult:
    entry, payload = plan.entry, plan.payload
    if not inbox.remove(conn, [entry.seq]):
        raise _Gone
    if erased_on_its_way(conn, secrets, plan.conversation):
        return DrainResult(erased=1)
    if payload is None:
        reason = plan.problem or "invalid"
        quarantine.add(conn, entry.id, entry.kind, plan.conversation, reason, entry.body, entry.customer)
        return DrainResult(quarantined=1)
    if isinstance(payload, FeedbackReceived):
        return _write_feedback(conn, plan, payload)
    return _write_exchange(conn, plan, payload)


def _write_feedback(conn: sa.Connection, plan: _Plan, received: FeedbackReceived) -> DrainResult:
    changes = feedback.add(conn, received.feedback(plan.conversation))
    if new := changes is not None:
        turns.add_pii_counts(conn, plan.entry.id, plan.conversation, received.pii, received.scrubber)
        counters.add(conn, {**changes, **_removed(received.pii)})
    return DrainResult(feedback=int(new), duplicates=int(not new))


def _write_exchange(conn: sa.Connection, plan: _Plan, exchange: ExchangeRecorded) -> DrainResult:
    entry = plan.entry
    removed, fresh = Counter[str](), []
    for turn in exchange.turns:
        # a turn without text has the hash of nothing
        digest = plan.hashes.get(turn.id) or content_hash(None)
        if turns.add(conn, turn.turn(entry.conversation_id, entry.customer), entry.seq, digest):
            fresh.append(turn)
            removed.update(turn.pii)
    _revise(conn, plan, exchange)
    if exchange.superseded and inbox.waits_before(conn, entry.conversation_id, entry.seq):
        raise _NotYet  # the former version is still with another drain
    gone = turns.supersede(conn, entry.conversation_id, exchange.superseded)
    topics.forget(conn, gone)
    turns.add_pii_counts(conn, entry.id, entry.conversation_id, removed, exchange.scrubber)
    made = inferences.many(conn, [turn.inference_id for turn in fresh if turn.inference_id])
    new = bool(fresh) and conversations.add(conn, entry.conversation_id, _traffic(exchange, made.values()))
    replies = Counter(f"{inferences.REPLIES}:{inference.adapter}" for inference in made.values())
    changes = {conversations.TOTAL: int(new), turns.TURNS: len(fresh) - len(gone)}
    counters.add(conn, {**changes, **replies, **_removed(removed)})
    return DrainResult(turns=len(fresh), duplicates=len(exchange.turns) - len(fresh))


def _traffic(exchange: ExchangeRecorded, made: Iterable[Inference]) -> str:
    """Return what traffic a conversation belongs to that begins with this exchange."""
    if exchange.source == "import":
        return conversations.IMPORT
    if exchange.test:
        return conversations.TEST
    by_alias = [inference for inference in made if inference.variant != EXACT_VARIANT]
    return conversations.customers_of(by_alias[0].alias) if by_alias else conversations.EXACT


def _removed(counts: Mapping[str, int]) -> dict[str, int]:
    """Return how much scrubbing removed, as changes of totals."""
    return {f"{turns.PII}:{kind}": n for kind, n in counts.items()}


def _revise(conn: sa.Connection, plan: _Plan, exchange: ExchangeRecorded) -> None:
    """Rewrite earlier turns in which a value found later was found too."""
    entry = plan.entry
    known = turns.many(conn, list(exchange.revisions))
    for turn_id, text in exchange.revisions.items():
        before = known.get(turn_id)
        if before is None and inbox.waits_before(conn, entry.conversation_id, entry.seq):
            raise _NotYet  # the turn to be revised is still with another drain
        if before is None or before.text is None or before.conversation_id != entry.conversation_id:
            continue
        turns.rewrite(conn, turn_id, text, plan.hashes[f"revision {turn_id}"])
        topics.forget(conn, [turn_id])
