"""A text in which everyday words stand for what was found, so that a model reads a plain sentence.

Values and their placeholders give the same words: a model reads a scrubbed text as it read the raw one, and need not be
asked twice. Does not know what reads it.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import cached_property
from typing import Final

from ingest.scrub.normalise import lower
from ingest.scrub.placeholders import kind_of
from ingest.scrub.spans import Span, masked

NUMBER: Final = "4711"
WORDS: Final = {
    "PERSON": "John",
    "ADDRESS": "12 Main Street",
    "EMAIL_ADDRESS": "john@mail.example",
    "URL": "www.mail.example",
    "USERNAME": "john47",
    "PHONE_NUMBER": "555-0100",
}


class Reader(Enum):
    """Who is shown a text."""

    NOBODY = auto()
    LARGE = auto()
    CHAT = auto()


@dataclass(frozen=True)
class Shown:
    """What a model is shown. `places` are the stand-ins in `text`, `values` what they stand for in the raw text.

    There are no capitals in `text` where its reader knows none.
    """

    text: str
    places: tuple[tuple[int, int], ...]
    values: tuple[Span, ...]
    reader: Reader = Reader.NOBODY

    @cached_property
    def own(self) -> str:
        """The text without the stand-ins, at the same length."""
        return masked(self.text, self.places)

    def raw(self, span: Span) -> Span | None:
        """A span of this text as one of the raw text; with the values that it shares a name with, not with others.

        None where it says nothing but stand-ins.
        """
        if not any(c.isalnum() for c in self.own[span.start : span.end]):
            return None
        return Span(
            self._raw(span.start, span.kind, ending=False),
            self._raw(span.end, span.kind, ending=True),
            span.kind,
            span.score,
        )

    def _raw(self, at: int, kind: str, *, ending: bool) -> int:
        begin = bisect_left(self._starts, at + (not ending))  # of the stand-ins that begin before this
        if not begin:
            return at
        (_, end), value = self.places[begin - 1], self.values[begin - 1]
        if at < end or (ending and at == end):
            return value.end if ending == (value.kind == kind) else value.start
        return at + value.end - end

    @cached_property
    def _starts(self) -> list[int]:
        return [start for start, _ in self.places]


def shown(
    text: str, found: Sequence[Span], placeholders: Sequence[tuple[int, int]], choose: Callable[[str], Reader]
) -> Shown:
    """`found` are disjoint and touch no placeholder. `choose` says who reads what is neither."""
    values = sorted(
        itertools.chain(found, (Span(start, end, kind_of(text[start:end])) for start, end in placeholders)),
        key=lambda s: s.start,
    )
    reader = choose(masked(text, ((s.start, s.end) for s in values)))
    small = reader is Reader.CHAT
    text = lower(text) if small else text
    parts: list[str] = []
    places: list[tuple[int, int]] = []
    at = length = 0
    for value in values:
        words = WORDS.get(value.kind, NUMBER)
        words = words.lower() if small else words
        parts += [text[at : value.start], words]
        length += value.start - at
        places.append((length, length + len(words)))
        length += len(words)
        at = value.end
    return Shown("".join([*parts, text[at:]]), tuple(places), tuple(values), reader)
