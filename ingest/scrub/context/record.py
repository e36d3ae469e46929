"""The shop's record of a customer as a deny list: its values are found in texts, exactly and nearly.

Nearly means with typing errors (optimal string alignment): one letter off for words of up to eight letters, two for
longer ones. A name that is a common word too ("Will") must have its capital. Values of digits are found with any
separators. Kept in memory for one request only. Knows no conversation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from ingest.scrub.names.words import COMMON, NAMES_ALSO_WORDS
from ingest.scrub.spans import Span

KINDS: Final = {
    "name": "PERSON", "email": "EMAIL_ADDRESS", "phone": "PHONE_NUMBER", "address": "ADDRESS", "order": "ORDER_ID",
    "account": "ACCOUNT_NUMBER", "username": "USERNAME", "other": "NUMBER",
}  # fmt: skip
SCORE: Final = 0.99
NEARLY: Final = frozenset({"PERSON", "EMAIL_ADDRESS", "ADDRESS", "USERNAME"})
SHORTEST: Final = 3
SHORTEST_NEARLY: Final = 5
LONG: Final = 9
MOST_VALUES: Final = 20  # of one field of the record
MOST_WORDS: Final = 200
_WORD: Final = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_PART: Final = re.compile(r"[^\W\d_]{3,}")


class DenyList:
    """Finds the values of one customer's record."""

    def __init__(self, values: Mapping[str, str | Sequence[str]]) -> None:
        self._exact: list[tuple[re.Pattern[str], str]] = []
        self._words: dict[str, str] = {}  # lowercase word of a value -> kind
        for name in sorted(values, key=lambda name: [*KINDS, name].index(name)):
            given, kind = values[name], KINDS.get(name, KINDS["other"])
            for value in [given] if isinstance(given, str) else list(given)[:MOST_VALUES]:
                self._learn(value.strip(), kind)

    def find(self, text: str) -> list[Span]:
        """Return spans of what the record holds; they may overlap."""
        found = [Span(m.start(), m.end(), kind, SCORE) for way, kind in self._exact for m in way.finditer(text)]
        if self._words:
            found += [Span(m.start(), m.end(), kind, SCORE) for m in _WORD.finditer(text) if (kind := self._near(m[0]))]
        return found

    def _learn(self, value: str, kind: str) -> None:
        if sum(map(str.isalnum, value)) < SHORTEST:
            return
        for piece in {value, *map(str.strip, value.split(","))} if kind == "ADDRESS" else {value}:
            if sum(map(str.isalnum, piece)) >= SHORTEST:
                self._exact.append((_pattern(piece), kind))
        if kind in NEARLY:
            for part in _parts(value, kind)[: MOST_WORDS - len(self._words)]:
                self._words.setdefault(part.lower(), kind)

    def _near(self, word: str) -> str | None:
        from rapidfuzz.distance import OSA

        low = word.lower()
        if low in COMMON or low in NAMES_ALSO_WORDS:
            return self._words.get(low) if word[0].isupper() and not word.isupper() else None
        if low in self._words or len(low) < SHORTEST_NEARLY:
            return self._words.get(low)
        for known, kind in self._words.items():
            if len(known) >= SHORTEST_NEARLY:
                most = 2 if len(known) >= LONG else 1
                if OSA.distance(low, known, score_cutoff=most) <= most:
                    return kind
        return None


def _parts(value: str, kind: str) -> list[str]:
    """Return the words that give a value away by themselves: of an address a town, say, and not its 'street'."""
    if kind == "ADDRESS":
        return [word for piece in value.split(",") if len(words := _PART.findall(piece)) == 1 for word in words]
    return _PART.findall(value.partition("@")[0] if kind == "EMAIL_ADDRESS" else value)


def _pattern(value: str) -> re.Pattern[str]:
    """Return the pattern of a whole value in any case and spacing; digits with any separators or none between them."""
    digits = [c for c in value if c.isdigit()]
    if len(digits) >= SHORTEST and not any(map(str.isalpha, value)):
        body = r"[\s().-]{0,2}".join(digits)
    else:
        body = r"\s+".join(map(re.escape, value.split()))
    return re.compile(rf"(?<![^\W_]){body}(?![^\W_])", re.IGNORECASE)
