"""Finds the values of a conversation again in all its messages: exact, any case, whole words only.

Parts of a full name count as values too. Values that are too short to be looked for everywhere are looked for in what
the shop's side says, where they were filled in; then the case must be the same. Knows no placeholders and no detection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ingest.scrub.normalise import lower
from ingest.scrub.spans import Span

SHORTEST = 3


class Carrier:
    """Finds the values of one conversation."""

    def __init__(self, is_word: Callable[[str], bool]) -> None:
        """`is_word` recognises ordinary English words: names that are also words must keep their capital to count."""
        self._is_word = is_word
        self._values: dict[str, tuple[str, str]] = {}  # lowercase -> as found, type
        self._short: dict[str, str] = {}  # as found -> type

    def learn(self, text: str, spans: Sequence[Span]) -> None:
        """Remember the values that were found in a message."""
        for span in spans:
            value = text[span.start : span.end]
            self._add(value, span.kind)
            if span.kind == "PERSON":
                for part in value.split():
                    self._add(part.strip(".,'’-"), span.kind, part=True)

    def find(self, text: str, *, short: bool = False) -> list[Span]:
        """Return the spans of all values, disjoint; longer values win. With `short`, of short values too."""
        low = lower(text)
        taken = bytearray(len(text))
        spans = self._find(text, low, taken)
        if short:
            for value, kind in self._short.items():
                at = text.find(value)
                while at >= 0:
                    end = at + len(value)
                    if _whole(low, at, end) and not any(taken[at:end]):
                        taken[at:end] = b"\x01" * len(value)
                        spans.append(Span(at, end, kind))
                    at = text.find(value, at + 1)
        return spans

    def _find(self, text: str, low: str, taken: bytearray) -> list[Span]:
        spans: list[Span] = []
        for value in sorted(self._values, key=lambda v: (-len(v), v)):
            as_found, kind = self._values[value]
            at = low.find(value)
            while at >= 0:
                end = at + len(value)
                if _whole(low, at, end) and not any(taken[at:end]) and self._same(text[at:end], as_found, kind):
                    taken[at:end] = b"\x01" * len(value)
                    spans.append(Span(at, end, kind))
                at = low.find(value, at + 1)
        return spans

    def _add(self, value: str, kind: str, *, part: bool = False) -> None:
        if len(value) >= SHORTEST + value.isdecimal():
            self._values.setdefault(lower(value), (value, kind))
        elif len(value) > 1 and not part:  # 'de' and 'la' of a name are words of their own
            self._short.setdefault(value, kind)

    def _same(self, found: str, as_found: str, kind: str) -> bool:
        if kind == "PERSON" and (" " not in as_found) and self._is_ambiguous(as_found):
            return found[0].isupper() and not found.isupper()
        return True

    def _is_ambiguous(self, name: str) -> bool:
        return self._is_word(name)


def _whole(text: str, start: int, end: int) -> bool:
    before = text[start - 1] if start else " "
    after = text[end] if end < len(text) else " "
    return not (before.isalnum() or before == "_" or after.isalnum() or after == "_")
