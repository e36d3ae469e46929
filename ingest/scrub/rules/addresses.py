"""Completes postal addresses: what was found of one grows by its number, door, town, country and postcode.

Never finds an address itself, so that plain places survive.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from ingest.scrub.names.gazetteer import Lexicon
from ingest.scrub.names.words import PLACES
from ingest.scrub.spans import Span

MOST_WORDS: Final = 9
MOST_LINES: Final = 5
LONGEST: Final = 400  # characters by which an address grows at most
_NO_STREET: Final = (
    "is|at|to|on|in|with|by|from|the|a|an|my|our|your|his|her|was|are|of|for|and|or|this|that|it|days?|weeks?|months?|hours?|"
    "minutes?|items?|orders?|pieces|times?|name|live|lives|address|same|ordered|bought|got|have|has"
)
STREET: Final = re.compile(
    r"(?i)street|st|road|rd|avenue|ave|lane|ln|drive|dr|boulevard|blvd|court|ct|way|place|square|terrace|close|crescent|"
    r"parkway|highway|circle|mews|grove|gardens|apt|apartment|suite|unit|flat|floor"
)
_BEFORE: Final = re.compile(
    r"(?<![\w.$€£-])\d{1,6}[A-Za-z]?,?\s{1,3}\Z"
    rf"|(?<![\w.$€£-])\d{{1,6}}[A-Za-z]?,?\s(?:(?!(?i:{_NO_STREET})\b)[^\W_][\w.'’/-]{{0,24}},?\s{{1,3}}){{1,6}}\Z"
)
_HOUSE: Final = re.compile(r"\s{1,3}\d{1,5}[A-Za-z]?(?![\w-])\.?")
_BETWEEN: Final = re.compile(r"[\s,?>*]{1,12}")
_DOOR: Final = re.compile(r"(?i)\b(?:apt|apartment|suite|flat|unit|box|floor)\b")
_BLANKS: Final = rf"(?>[ \t]{{0,{LONGEST}}})"
_PART: Final = re.compile(
    rf"(?P<gap>{_BLANKS}(?:,{_BLANKS})?\n[ \t>?*,]{{0,{LONGEST}}}|{_BLANKS},{_BLANKS}|[ \t]{{1,3}})(?P<word>[^\s,]+)"
)
_LINE: Final = re.compile(r"((?>[^\n\d@:]*))(?:(\d{4,6}(?:-\d{4})?)[ \t]*)?")
LONGEST_LINE: Final = 40  # characters of a town's line, without its postcode
_CODE: Final = re.compile(r"\d{4,6}(?:-\d{4})?(?!\w)|[A-Z]{1,2}\d[A-Z\d]?\s?\d[A-Z]{2}\b")
_JOINERS: Final = frozenset(
    ("of", "de", "del", "la", "do", "da", "dos", "das", "le", "am", "an", "der", "und", "and", "the", "les")
)


def completed(text: str, spans: Sequence[Span], lexicon: Lexicon) -> list[Span]:
    """Return the spans, with addresses joined to their neighbours and grown."""
    others = [span for span in spans if span.kind != "ADDRESS"]
    streets = sorted((span for span in spans if span.kind == "ADDRESS"), key=lambda s: s.start)
    joined: list[Span] = []
    for span in streets:
        if joined and _near(text, joined[-1].end, span.start):
            last = joined.pop()
            joined.append(Span(last.start, max(last.end, span.end), "ADDRESS", max(last.score, span.score)))
        else:
            joined.append(span)
    lowercase = bool(joined) and not any(map(str.isupper, text))
    return [*others, *(_grown(text, span, lexicon, lowercase=lowercase) for span in joined)]


def _near(text: str, end: int, start: int) -> bool:
    return start <= end or bool(_BETWEEN.fullmatch(text, end, start))


def _grown(text: str, span: Span, lexicon: Lexicon, *, lowercase: bool) -> Span:
    start, end = span.start, span.end
    door = bool(_DOOR.search(text, start, end))
    before = _BEFORE.search(text[max(0, start - 90) : start])
    if before and (door or len(before.group()) < 12):
        start -= len(before.group())
    if not door and (house := _HOUSE.match(text, end)):
        end = house.end()
    return Span(start, _end(text, end, lexicon, sure=door, lowercase=lowercase), "ADDRESS", span.score)


def _town_line(text: str, start: int, limit: int) -> re.Match[str] | None:
    """Match the rest of a line, if it may be a town's, with a postcode at its end or without."""
    end = text.find("\n", start, limit)
    line = _LINE.fullmatch(text, start, limit if end < 0 else end)
    if line is None:
        return None
    town = line.group(1).lstrip(" \t>?*,").rstrip(" \t,")
    return line if len(town) <= LONGEST_LINE and len(town.split()) <= 5 else None


def _end(text: str, end: int, lexicon: Lexicon, *, sure: bool, lowercase: bool) -> int:
    """Return where the address ends: behind its postcode or country, or, of a `sure` one, behind its last place name.

    `lowercase` says that the text has no capitals.
    """
    at, kept, limit = end, end, min(len(text), end + LONGEST)
    words = lines = 0
    while words < MOST_WORDS and lines < MOST_LINES and (part := _PART.match(text, at, limit)):
        word = part["word"].rstrip(".,;:!?)")
        closed = len(word) < len(part["word"])
        if code := _CODE.match(text, part.start("word")):
            return code.end() if words or sure or "\n" in part["gap"] or "," in part["gap"] else kept
        if "\n" in part["gap"] and (line := _town_line(text, part.start("word"), limit)):
            at, lines = line.end(), lines + 1
            if line.group(2):
                return at
            if sure or line.group(1).lstrip(" \t>?*,").rstrip(" \t,").strip().casefold() in PLACES:
                kept = at
            continue
        if word.casefold() in _JOINERS and not closed:
            at, words = part.end("word"), words + 1
            continue
        place = word.casefold() in PLACES
        if not (place or word[:1].isupper() or (lowercase and lexicon.unknown(word)) or (word == "nan" and words)):
            break
        at, words = part.start("word") + len(word), words + 1
        if sure or place:
            kept = at
        if closed:
            break
    return kept
