"""Completes postal addresses: a found street takes its house number, door, town and postcode along.

Only grows what a pattern found; never finds an address, so that plain places survive.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from ingest.scrub.spans import Span

_BEFORE: Final = re.compile(r"(?<![\w.-])\d{1,6}[A-Za-z]?,?[ \n]{1,3}\Z")
_BETWEEN: Final = re.compile(r"[\s,?]{1,8}")
_WORD: Final = r"(?:[A-ZÀ-ÖØ-ÞŁŚŽŠČ][\w'’.-]{0,24}|de|del|la|do|da|of|am)"
_AFTER: Final = re.compile(
    rf"(?:[ \t]{{0,3}}[,\n]?[ \t\n,]{{0,4}}(?<=[\s,]){_WORD}){{0,7}}[\s,]{{1,4}}\d{{4,6}}(?:-\d{{4}})?(?!\w)"
)


def completed(text: str, spans: Sequence[Span]) -> list[Span]:
    """The spans, with addresses joined to their neighbours and grown."""
    others = [span for span in spans if span.kind != "ADDRESS"]
    streets = sorted((span for span in spans if span.kind == "ADDRESS"), key=lambda s: s.start)
    joined: list[Span] = []
    for span in streets:
        if joined and _near(text, joined[-1].end, span.start):
            last = joined.pop()
            joined.append(Span(last.start, max(last.end, span.end), "ADDRESS", max(last.score, span.score)))
        else:
            joined.append(span)
    return [*others, *(_grown(text, span) for span in joined)]


def _near(text: str, end: int, start: int) -> bool:
    return start <= end or bool(_BETWEEN.fullmatch(text, end, start))


def _grown(text: str, span: Span) -> Span:
    start, end = span.start, span.end
    if before := _BEFORE.search(text[max(0, start - 10) : start]):
        start -= len(before.group())
    if after := _AFTER.match(text, end, min(len(text), end + 160)):
        end = after.end()
    return Span(start, end, "ADDRESS", span.score)
