"""Quarantine: entries that were not admitted can be looked at, fixed, replayed or dropped. Knows no files.

What is shown passes the scrubber once more, as a hit in the second scan may be the reason why it is here. An entry may
be malformed, so it stays a JSON object until it is replayed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from ingest.inbox.validation import Validator, stored_conversation
from shoptalk.crypto import Secrets
from shoptalk.errors import Conflict, InvalidInput, NotFound, ScrubbingFailed
from shoptalk.events import ExchangeRecorded, FeedbackReceived, Payload, TurnRecorded, read
from shoptalk.ports import Inbox, Scrubber
from shoptalk.store import Store
from shoptalk.store.ingest import quarantine

SETTABLE: Final = ("role", "text", "at")
HIDDEN: Final = "(not shown: it could not be scrubbed)"


@dataclass(frozen=True, slots=True)
class QuarantineEntry:
    """One entry, decrypted; `payload` is None where nothing could be kept."""

    id: str
    kind: str
    conversation_id: str | None
    reason: str
    created_at: datetime
    payload: dict[str, Any] | None
    #: keyed hash
    customer: str | None


class Quarantine:
    """Shows, fixes, replays and drops entries."""

    def __init__(self, store: Store, secrets: Secrets, inbox: Inbox, scrubber: Scrubber, validator: Validator) -> None:
        self._store, self._secrets, self._inbox = store, secrets, inbox
        self._scrubber, self._validator = scrubber, validator

    def show(self, entry_id: str) -> dict[str, Any]:
        """Return an entry for a person to read, its texts scrubbed once more. Raises NotFound."""
        entry = self._entry(entry_id)
        shown = {"id": entry.id, "kind": entry.kind, "reason": entry.reason, "since": entry.created_at.isoformat()}
        if not isinstance(entry.payload, dict):
            return shown
        turns = entry.payload.get("turns")
        if isinstance(turns, list):
            return {**shown, "turns": [self._turn(turn) for turn in turns]}
        return {**shown, "comment": self._shown(entry.payload.get("comment"))}

    def fix(self, entry_id: str, changes: Mapping[str, str], dropped: Sequence[int] = ()) -> list[str]:
        """Set fields such as `turns.3.role`, and drop turns by their number; return which checks fail still.

        New texts are scrubbed. Raises InvalidInput naming the field, NotFound.
        """
        entry = self._entry(entry_id)
        turns = entry.payload.get("turns") if isinstance(entry.payload, dict) else None
        if not isinstance(turns, list) or entry.payload is None:
            raise InvalidInput("it holds no turns that could be fixed", field="id", fix="drop it")
        for field, value in changes.items():
            self._set(turns, field, value)
        for number in sorted(dropped, reverse=True):
            _drop(turns, number)
        failures = [str(failure) for failure in self._validator.failures(stored_conversation(entry.payload))]
        with self._store.write() as conn:
            body = self._secrets.encrypt({**entry.payload, "failures": failures})
            quarantine.correct(conn, entry.id, body)
        return failures

    def replay(self, entry_id: str, accept: bool = False) -> None:
        """Scrub an entry again and hand it back to the drain.

        With `accept`, a person's word, checks that failed count as passed. Raises NotFound, InvalidInput where it is
        malformed still, Conflict where nothing of it was kept or it fails a check.
        """
        entry = self._entry(entry_id)
        if entry.payload is None:
            raise Conflict("nothing of it was kept, so there is nothing to replay", fix="drop it")
        payload = entry.payload
        if accept and payload.get("failures"):
            payload = {**payload, "failures": []}
        checked = read(entry.kind, payload)  # a malformed one would only come back
        if isinstance(checked, ExchangeRecorded) and checked.failures:
            fix = "fix it, or replay it with --accept"
            raise Conflict(f"it fails a check still: {checked.failures[0]}", fix=fix)
        scrubbed = self._scrubbed(checked)
        with self._store.write() as conn:
            if quarantine.remove(conn, [entry.id]):
                conversation = entry.conversation_id or entry.id
                self._inbox.accept(conn, entry.id, scrubbed, conversation, customer=entry.customer)

    def drop(self, entry_id: str) -> None:
        """Delete an entry for good. Raises NotFound."""
        with self._store.write() as conn:
            if not quarantine.remove(conn, [entry_id]):
                raise _not_found(entry_id)

    def _entry(self, entry_id: str) -> QuarantineEntry:
        with self._store.read() as conn:
            row = quarantine.find(conn, entry_id)
        if row is None:
            raise _not_found(entry_id)
        payload = None if row.body is None else self._secrets.decrypt(row.body)
        return QuarantineEntry(row.id, row.kind, row.conversation_id, row.reason, row.created_at, payload, row.customer)

    def _set(self, turns: list[Any], field: str, value: str) -> None:
        number, name = _turn_field(field, len(turns))
        if name == "text":
            earlier = [str(turn.get("text") or "") for turn in turns[:number]]
            value, _ = self._scrubber.scrub_correction(earlier, value)
        turns[number][name] = value

    def _scrubbed(self, payload: Payload) -> Payload:
        """Return the payload without what the scrubber finds today. Raises ScrubbingFailed."""
        if isinstance(payload, FeedbackReceived):
            if not payload.comment:
                return payload
            return payload.model_copy(update={"comment": self._scrubber.scrub_correction([], payload.comment)[0]})
        earlier: list[str] = []
        turns: list[TurnRecorded] = []
        for turn in payload.turns:
            if turn.text is not None:
                text, _ = self._scrubber.scrub_correction(earlier, turn.text)
                earlier.append(text)
                turn = turn.model_copy(update={"text": text})
            turns.append(turn)
        revisions = {id: self._scrubber.scrub_correction(earlier, text)[0] for id, text in payload.revisions.items()}
        return payload.model_copy(update={"turns": turns, "revisions": revisions})

    def _turn(self, turn: Any) -> Any:
        if not isinstance(turn, dict):
            return HIDDEN
        return {
            "role": str(turn.get("role"))[:40],
            "at": str(turn.get("at"))[:40],
            "text": self._shown(turn.get("text")),
        }

    def _shown(self, text: Any) -> str | None:
        if text is None:
            return None
        try:
            return self._scrubber.scrub_correction([], str(text))[0]
        except ScrubbingFailed:
            return HIDDEN


def _not_found(entry_id: str) -> NotFound:
    return NotFound(f"there is nothing in quarantine with the id {entry_id[:80]}")


def _drop(turns: list[Any], number: int) -> None:
    """Leave a turn out; the turns that answer it answer the one before it instead."""
    if not 0 <= number < len(turns):
        raise InvalidInput(f"there is no turn {number}", field="drop")
    gone = turns.pop(number)
    for turn in turns:
        if turn.get("parent_id") == gone.get("id"):
            turn["parent_id"] = gone.get("parent_id")


def _turn_field(field: str, turns: int) -> tuple[int, str]:
    """Return the turn's number and the name in a field such as `turns.3.role`. Raises InvalidInput."""
    parts = field.split(".")
    if len(parts) == 3 and parts[0] == "turns" and parts[1].isdigit() and parts[2] in SETTABLE:
        if int(parts[1]) < turns:
            return int(parts[1]), parts[2]
        raise InvalidInput(f"there is no turn {parts[1]}", field=field[:80], fix=f"use 0 to {turns - 1}")
    known = "use turns.N.role, turns.N.text or turns.N.at"
    raise InvalidInput(f"'{field[:80]}' cannot be set", field=field[:80], fix=known)
