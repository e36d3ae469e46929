"""Spans of text, and how overlapping ones are made disjoint. Does not know what is searched for."""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ingest.scrub.normalise import JOINERS

Bounds = tuple[int, int]
"""Start and end of something in a text, in characters; the end is not included."""


@dataclass(frozen=True, slots=True)
class Span:
    """Characters from `start` up to `end`, with a value of type `kind`. Where two overlap, the higher `score` wins."""

    start: int
    end: int
    kind: str
    score: float = 0.5

    @property
    def length(self) -> int:
        """Return its number of characters."""
        return self.end - self.start


def settle(text: str, spans: Iterable[Span], protected: Sequence[Bounds] = ()) -> list[Span]:
    """Return disjoint spans in order.

    Overlaps of one kind are joined; of two kinds, the loser keeps what is left of it. No span reaches into `protected`
    ones. Remainders without a letter or digit are dropped.
    """
    taken = sorted(protected)  # disjoint, so that their ends are in order too
    kept: list[Span] = []
    for span in sorted(_joined(spans), key=lambda s: (-s.score, -s.length, s.start, s.kind)):
        for start, end in _without(span.start, span.end, taken):
            start, end = _trimmed(text, start, end)
            if start < end and any(c.isalnum() for c in text[start:end]):
                kept.append(Span(start, end, span.kind, span.score))
                insort(taken, (start, end))
    return sorted(kept, key=lambda s: s.start)


def closed(text: str, spans: Iterable[Span]) -> list[Span]:
    """Return disjoint spans in order, each with the marks and joiners that belong to its outermost characters.

    Beside a placeholder these would mean something else, or nothing.
    """
    done: list[Span] = []
    at = 0
    ordered = sorted(spans, key=lambda s: s.start)
    for i, span in enumerate(ordered):
        limit = ordered[i + 1].start if i + 1 < len(ordered) else len(text)
        start, end = span.start, span.end
        while start > at and text[start - 1] in JOINERS:
            start -= 1
        while end < limit and (text[end] in JOINERS or unicodedata.category(text[end])[0] == "M"):
            end += 1
        done.append(span if (start, end) == (span.start, span.end) else replace(span, start=start, end=end))
        at = end
    return done


def masked(text: str, spans: Iterable[Bounds]) -> str:
    """Return the text at the same length, with spans blanked by a character that no pattern joins across."""
    ordered = sorted(spans)
    if not ordered:
        return text
    parts: list[str] = []
    at = 0
    for start, end in ordered:
        if end <= at:
            continue
        start = max(start, at)
        parts += [text[at:start], "\x00" * (end - start)]
        at = end
    parts.append(text[at:])
    return "".join(parts)


def _joined(spans: Iterable[Span]) -> list[Span]:
    by_kind: dict[str, list[Span]] = {}
    for span in spans:
        by_kind.setdefault(span.kind, []).append(span)
    out: list[Span] = []
    for kind, group in by_kind.items():
        group.sort(key=lambda s: s.start)
        current = group[0]
        for span in group[1:]:
            if span.start < current.end:
                score = max(current.score, span.score)
                current = Span(current.start, max(current.end, span.end), kind, score)
            else:
                out.append(current)
                current = span
        out.append(current)
    return out


def _without(start: int, end: int, taken: Sequence[Bounds]) -> list[Bounds]:
    pieces: list[Bounds] = []
    first = max(0, bisect_left(taken, (start, start)) - 1)  # the one before may reach in
    for i in range(first, len(taken)):
        a, b = taken[i]
        if a >= end:
            break
        if b <= start:
            continue
        if a > start:
            pieces.append((start, a))
        start = max(start, b)
    if start < end:
        pieces.append((start, end))
    return pieces


def _trimmed(text: str, start: int, end: int) -> Bounds:
    while start < end and (text[start].isspace() or text[start] in ",;:.!?\"'"):
        start += 1
    while end > start and (text[end - 1].isspace() or text[end - 1] in ",;:.!?\"'"):
        end -= 1
    return start, end
