"""Makes the text that a model reads: everyday words stand in for what was found, so that it reads a plain sentence.

Values and their placeholders give the same words: a model reads a scrubbed text as it read the raw one, and need not be
asked twice. Does not know the models.
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
from ingest.scrub.spans import Bounds, Span, masked

NUMBER: Final = "4711"
WORDS: Final = {
    "PERSON": "John",
    "ADDRESS": "12 Main Street",
    "EMAIL_ADDRESS": "john@mail.example",
    "URL": "www.mail.example",
    "USERNAME": "john47",
    "PHONE_NUMBER": "555-0100",
}


class ModelChoice(Enum):
    """The model that reads a text, if any."""

    NONE = auto()
    LARGE = auto()
    CHAT = auto()


@dataclass(frozen=True)
class ModelText:
    """A text as a model reads it."""

    #: in lowercase where the model knows no capitals
    text: str
    #: bounds of the stand-ins in `text`
    standins: tuple[Bounds, ...]
    #: what they stand for, in the raw text
    values: tuple[Span, ...]
    model: ModelChoice = ModelChoice.NONE

    @cached_property
    def own(self) -> str:
        """The text with the stand-ins blanked, at the same length."""
        return masked(self.text, self.standins)

    def raw(self, span: Span) -> Span | None:
        """Return a span of this text as one of the raw text.

        It grows over values of its own kind that it reaches into, and stops before others. None where it holds nothing
        but stand-ins.
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
        (_, end), value = self.standins[begin - 1], self.values[begin - 1]
        if at < end or (ending and at == end):
            return value.end if ending == (value.kind == kind) else value.start
        return at + value.end - end

    @cached_property
    def _starts(self) -> list[int]:
        return [start for start, _ in self.standins]


def model_text(
    text: str, found: Sequence[Span], placeholders: Sequence[Bounds], choose: Callable[[str], ModelChoice]
) -> ModelText:
    """Return what a model reads of a text.

    `found` are disjoint and touch no placeholder. `choose` returns the model for what is neither.
    """
    values = sorted(
        itertools.chain(found, (Span(start, end, kind_of(text[start:end])) for start, end in placeholders)),
        key=lambda s: s.start,
    )
    model = choose(masked(text, ((s.start, s.end) for s in values)))
    lowercase = model is ModelChoice.CHAT
    text = lower(text) if lowercase else text
    parts: list[str] = []
    standins: list[Bounds] = []
    at = length = 0
    for value in values:
        words = WORDS.get(value.kind, NUMBER)
        words = words.lower() if lowercase else words
        parts += [text[at : value.start], words]
        length += value.start - at
        standins.append((length, length + len(words)))
        length += len(words)
        at = value.end
    return ModelText("".join([*parts, text[at:]]), tuple(standins), tuple(values), model)
