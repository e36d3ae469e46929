"""Scrubs and checks conversations from elsewhere, before anything is written. Knows no database.

Metadata is not kept. Texts are scrubbed with values found later carried back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ingest.imports.lookup import IncomingConversation
from ingest.inbox.validation import CheckedConversation, CheckedTurn, FailedCheck, Validator
from shoptalk.clock import BusinessTime
from shoptalk.crypto import Secrets
from shoptalk.domain import Message
from shoptalk.errors import ScrubbingFailed
from shoptalk.events import TurnRecorded
from shoptalk.ports import ScrubbedConversation, Scrubber


@dataclass(frozen=True, slots=True)
class PreparedConversation:
    """One conversation, scrubbed and checked, with all its turns."""

    item: IncomingConversation
    turns: list[TurnRecorded]
    #: why there are no texts; None where scrubbing succeeded
    reason: str | None
    failures: list[FailedCheck]


class Preparer:
    """Prepares conversations."""

    def __init__(self, secrets: Secrets, scrubber: Scrubber, validator: Validator, time: BusinessTime) -> None:
        self._secrets, self._scrubber, self._validator, self._time = secrets, scrubber, validator, time

    def prepare(self, items: Sequence[IncomingConversation]) -> list[PreparedConversation]:
        """Scrub conversations together, which takes less time than one by one, and check each."""
        messages = [[Message(turn.role, turn.text) for turn in item.raw.turns] for item in items]
        outcomes = self._scrubber.scrub_many(messages, [item.raw.record for item in items])
        return [self._prepared(item, outcome) for item, outcome in zip(items, outcomes, strict=True)]

    def _prepared(
        self, item: IncomingConversation, outcome: ScrubbedConversation | ScrubbingFailed
    ) -> PreparedConversation:
        reason: str | None = None
        texts: list[str | None]
        counts: list[Mapping[str, int]]
        if isinstance(outcome, ScrubbingFailed):
            reason = f"scrubbing failed: {outcome.message}"[:200]
            texts, counts = [None] * len(item.raw.turns), [{}] * len(item.raw.turns)
        else:
            texts, counts = list(outcome.final), list(outcome.counts)
        checked = [CheckedTurn(turn.role, text, turn.at) for turn, text in zip(item.raw.turns, texts, strict=True)]
        failures = self._validator.failures(CheckedConversation(checked, whole=True))
        return PreparedConversation(item, self._turns(item, texts, counts, reason), reason, failures)

    def _turns(
        self,
        item: IncomingConversation,
        texts: Sequence[str | None],
        counts: Sequence[Mapping[str, int]],
        reason: str | None,
    ) -> list[TurnRecorded]:
        made: list[TurnRecorded] = []
        at = item.raw.started_at or self._time.now()
        for position, turn in enumerate(item.raw.turns):
            at = _later(turn.at, at if position else at - timedelta(microseconds=1))
            digest = self._secrets.digest("import turn", f"{item.id}\0{position}\0{turn.role}\0{turn.text}")
            made.append(
                TurnRecorded(
                    id=f"trn_{digest[:32]}",
                    parent_id=made[-1].id if made else None,
                    role=turn.role,
                    text=texts[position],
                    reason=reason,
                    inference_id=None,
                    at=at,
                    pii=dict(counts[position]),
                )
            )
        return made


def _later(given: datetime | None, before: datetime) -> datetime:
    """Return the given time, moved where needed so that turns keep their order."""
    least = before + timedelta(microseconds=1)
    return least if given is None or given < least else given
