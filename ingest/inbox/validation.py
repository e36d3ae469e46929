"""The checks that a conversation must pass to be admitted. Knows neither files nor tables, and fixes nothing.

A check says which fields are wrong, never what is in them. What fails one goes to quarantine with the check's name and
the first such field, and can be fixed and replayed from there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ingest.features.language import Languages
from shoptalk.clock import BusinessTime
from shoptalk.domain import Role

LONGEST_TURN: Final = 16_000  # characters
MOST_IN_A_ROW: Final = 20  # turns by one side
MOST_REPEATS: Final = 10  # of one text by one side
FIRST_TIME: Final = datetime(2000, 1, 1, tzinfo=UTC)
CLOCKS: Final = timedelta(days=1)  # how far clocks may disagree
_MOJIBAKE: Final = re.compile(r"Ã[\u0080-\u00bf©¨¤¶¼±]|â€[™œ\u009d“”˜¦]|ðŸ|Â[£€°]")
_FINE: Final = frozenset("\t\n\r")


@dataclass(frozen=True, slots=True)
class CheckedTurn:
    """One turn as the checks see it; without text where that could not be kept."""

    role: Role
    text: str | None
    at: datetime | None


@dataclass(frozen=True, slots=True)
class CheckedConversation:
    """A conversation, or the last exchange of one, as the checks see it."""

    turns: Sequence[CheckedTurn]
    #: whether it is all of a conversation
    whole: bool


@dataclass(frozen=True, slots=True)
class FailedCheck:
    """A check that failed, and the first field that is wrong, in dotted notation."""

    check: str
    field: str

    def __str__(self) -> str:
        return f"validation: {self.check}: {self.field}"


@dataclass(frozen=True, slots=True)
class ConversationCheck:
    """One check: its name, what passing it means, and how it is done."""

    name: str
    #: what a conversation that passes is like, for people
    means: str
    #: yields the fields that are wrong
    find: Callable[[CheckedConversation], Iterator[str]]
    #: whether it makes sense for whole conversations only
    whole_only: bool = False


class Validator:
    """The checks of one shop, which serves customers in certain languages."""

    def __init__(self, languages: Sequence[str], time: BusinessTime) -> None:
        self._time = time
        self._languages, self._guess = frozenset(languages), Languages()
        self.checks: Final = (
            ConversationCheck("customer", "a customer says something", _no_customer, whole_only=True),
            ConversationCheck(
                "role_order", f"nobody says more than {MOST_IN_A_ROW} things in a row", _monologue, whole_only=True
            ),
            ConversationCheck("empty", "every turn has a word, a number or a picture in it", _empty),
            ConversationCheck("oversized", f"no turn has more than {LONGEST_TURN} characters", _oversized),
            ConversationCheck(
                "encoding",
                "texts are what was typed: no replacement or control characters, nothing decoded twice",
                _encoding,
            ),
            ConversationCheck(
                "timestamps", "times lie between 2000 and now, and do not run backwards", self._timestamps
            ),
            ConversationCheck(
                "repeated",
                f"nobody says the same thing more than {MOST_REPEATS} times",
                _repeated,
                whole_only=True,
            ),
            ConversationCheck(
                "language",
                f"customers write in {', '.join(sorted(self._languages)) or 'any language'}",
                self._language,
                whole_only=True,
            ),
        )

    def _timestamps(self, conversation: CheckedConversation) -> Iterator[str]:
        latest, present = FIRST_TIME, self._time.now()
        for i, turn in enumerate(conversation.turns):
            if turn.at is None:
                continue
            if not max(FIRST_TIME, latest - CLOCKS) <= turn.at <= present + CLOCKS:
                yield f"turns.{i}.at"
            latest = max(latest, min(turn.at, present))

    def failures(self, conversation: CheckedConversation) -> list[FailedCheck]:
        """Return the checks that fail, each with the first field that is wrong."""
        found = []
        for check in self.checks:
            if check.whole_only and not conversation.whole:
                continue
            field = next(check.find(conversation), None)
            if field is not None:
                found.append(FailedCheck(check.name, field))
        return found

    def language(self, turns: Sequence[CheckedTurn]) -> str | None:
        """Return the language of what customers wrote, as ISO 639-1; None where it is not certain."""
        return self._guess.guess("\n".join(turn.text or "" for turn in turns if turn.role == "user"))

    def _language(self, conversation: CheckedConversation) -> Iterator[str]:
        if not self._languages:
            return
        language = self.language(conversation.turns)
        if language is not None and language not in self._languages:
            yield "turns"


def _no_customer(conversation: CheckedConversation) -> Iterator[str]:
    if not any(turn.role == "user" for turn in conversation.turns):
        yield "turns"


def _monologue(conversation: CheckedConversation) -> Iterator[str]:
    run, last = 0, None
    for i, turn in enumerate(conversation.turns):
        run = run + 1 if turn.role == last else 1
        last = turn.role
        if run > MOST_IN_A_ROW:
            yield f"turns.{i}.role"


def _empty(conversation: CheckedConversation) -> Iterator[str]:
    for i, turn in enumerate(conversation.turns):
        if turn.text is not None and not any(unicodedata.category(c)[0] in "LNPS" for c in turn.text):
            yield f"turns.{i}.text"


def _oversized(conversation: CheckedConversation) -> Iterator[str]:
    for i, turn in enumerate(conversation.turns):
        if len(turn.text or "") > LONGEST_TURN:
            yield f"turns.{i}.text"


def _encoding(conversation: CheckedConversation) -> Iterator[str]:
    for i, turn in enumerate(conversation.turns):
        text = turn.text or ""
        broken = any(c == "\ufffd" or "\ud800" <= c <= "\udfff" or (c < " " and c not in _FINE) for c in text)
        if broken or len(_MOJIBAKE.findall(text)) > 1:
            yield f"turns.{i}.text"


def _repeated(conversation: CheckedConversation) -> Iterator[str]:
    seen: dict[tuple[str, str], int] = {}
    for i, turn in enumerate(conversation.turns):
        if turn.text is None:
            continue
        key = (turn.role, " ".join(turn.text.casefold().split()))
        seen[key] = seen.get(key, 0) + 1
        if seen[key] > MOST_REPEATS:
            yield f"turns.{i}.text"


def stored_conversation(payload: Mapping[str, Any]) -> CheckedConversation:
    """Return a stored exchange, decrypted but perhaps malformed, as the checks see it."""
    turns = [turn for turn in payload.get("turns") or () if isinstance(turn, dict)]
    return CheckedConversation(
        [CheckedTurn(turn["role"], turn["text"], _time(turn.get("at"))) for turn in turns],
        whole=payload.get("source") == "import",
    )


def _time(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(value)).astimezone(UTC)
    except ValueError:
        return None
