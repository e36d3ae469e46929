"""What was not admitted: looked at, mended, replayed or dropped. Knows no files.

What is shown passes the scrubber once more, as a hit in the second scan may be why it is here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from ingest.inbox.validation import Validator, said
from shoptalk.crypto import Secrets
from shoptalk.errors import Conflict, InvalidInput, NotFound, ScrubbingFailed
from shoptalk.events import read
from shoptalk.ports import Inbox, Scrubber
from shoptalk.store import Store
from shoptalk.store.ingest import quarantine

SETTABLE: Final = ("role", "text", "at")
HIDDEN: Final = "(not shown: it could not be scrubbed)"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in quarantine, opened; `payload` is None where nothing could be kept."""

    id: str
    kind: str
    conversation_id: str | None
    reason: str
    created_at: datetime
    payload: dict[str, Any] | None
    customer: str | None


class Quarantine:
    """Everything in quarantine."""

    def __init__(self, store: Store, secrets: Secrets, inbox: Inbox, scrubber: Scrubber, validator: Validator) -> None:
        self._store, self._secrets, self._inbox = store, secrets, inbox
        self._scrubber, self._validator = scrubber, validator

    def show(self, entry_id: str) -> dict[str, Any]:
        """An entry for a person to read: its texts scrubbed once more. Raises NotFound."""
        entry = self._entry(entry_id)
        shown = {"id": entry.id, "kind": entry.kind, "reason": entry.reason, "since": entry.created_at.isoformat()}
        if not isinstance(entry.payload, dict):
            return shown
        turns = entry.payload.get("turns")
        if isinstance(turns, list):
            return {**shown, "turns": [self._turn(turn) for turn in turns]}
        return {**shown, "comment": self._shown(entry.payload.get("comment"))}

    def mend(self, entry_id: str, changes: Mapping[str, str], dropped: Sequence[int] = ()) -> list[str]:
        """Set fields such as `turns.3.role`, and drop turns by their number; new texts are scrubbed.

        It is checked again; returns what fails still.

        Raises InvalidInput naming the field, NotFound.
        """
        entry = self._entry(entry_id)
        turns = entry.payload.get("turns") if isinstance(entry.payload, dict) else None
        if not isinstance(turns, list) or entry.payload is None:
            raise InvalidInput("it holds no turns that could be mended; drop it", field="id")
        for field, value in changes.items():
            place, name = _place(field, len(turns))
            if name == "text":
                earlier = [str(turn.get("text") or "") for turn in turns[:place]]
                value, _ = self._scrubber.scrub_correction(earlier, value)
            turns[place][name] = value
        for number in sorted(dropped, reverse=True):
            if not 0 <= number < len(turns):
                raise InvalidInput(f"there is no turn {number}", field="drop")
            gone = turns.pop(number)
            for turn in turns:
                if turn.get("parent_id") == gone.get("id"):
                    turn["parent_id"] = gone.get("parent_id")
        failures = [str(failure) for failure in self._validator.failures(said(entry.payload))]
        with self._store.write() as conn:
            body = self._secrets.encrypt({**entry.payload, "failures": failures})
            quarantine.correct(conn, entry.id, body)
        return failures

    def replay(self, entry_id: str, accept: bool = False) -> None:
        """Scrubbed anew and back to the drain. Checks that failed count as passed where a person accepts it.

        Raises NotFound, InvalidInput where it is malformed still, Conflict where nothing of it was kept.
        """
        entry = self._entry(entry_id)
        if entry.payload is None:
            raise Conflict("nothing of it was kept, so there is nothing to replay; drop it")
        payload = entry.payload
        if accept and payload.get("failures"):
            payload = {**payload, "failures": []}
        checked = read(entry.kind, payload)  # a malformed one would only come back
        failures = getattr(checked, "failures", [])
        if failures:
            raise Conflict(f"it fails a check still: {failures[0]}; mend it, or replay it with --accept")
        payload = self._scrubbed(payload)
        with self._store.write() as conn:
            if quarantine.remove(conn, [entry.id]):
                where = entry.conversation_id or entry.id
                self._inbox.accept(conn, entry.id, entry.kind, where, payload, customer=entry.customer)

    def drop(self, entry_id: str) -> None:
        """Delete it for good; raises NotFound."""
        with self._store.write() as conn:
            if not quarantine.remove(conn, [entry_id]):
                raise NotFound(f"there is nothing in quarantine with the id {entry_id[:80]}")

    def _entry(self, entry_id: str) -> Entry:
        with self._store.read() as conn:
            row = quarantine.find(conn, entry_id)
        if row is None:
            raise NotFound(f"there is nothing in quarantine with the id {entry_id[:80]}")
        opened = None if row.body is None else self._secrets.decrypt(row.body)
        return Entry(row.id, row.kind, row.conversation_id, row.reason, row.created_at, opened, row.customer)

    def _scrubbed(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Without what the scrubber finds today; raises ScrubbingFailed."""
        earlier: list[str] = []
        turns = []
        for turn in payload.get("turns", ()):
            text = turn["text"]
            if text is not None:
                text, _ = self._scrubber.scrub_correction(earlier, text)
                earlier.append(text)
            turns.append({**turn, "text": text})
        if payload.get("comment"):
            return {**payload, "comment": self._scrubber.scrub_correction([], payload["comment"])[0]}
        revised = payload.get("revisions", {}).items()
        revisions = {id: self._scrubber.scrub_correction(earlier, text)[0] for id, text in revised}
        return {**payload, "turns": turns, "revisions": revisions} if turns or revisions else payload

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


def _place(field: str, turns: int) -> tuple[int, str]:
    parts = field.split(".")
    if len(parts) == 3 and parts[0] == "turns" and parts[1].isdigit() and parts[2] in SETTABLE:
        if int(parts[1]) < turns:
            return int(parts[1]), parts[2]
        raise InvalidInput(f"there is no turn {parts[1]}; the last is {turns - 1}", field=field[:80])
    raise InvalidInput(f"'{field[:80]}' cannot be set; use turns.N.role, turns.N.text or turns.N.at", field=field[:80])
