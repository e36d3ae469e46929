"""Which stretches of text may be a person's name, and when the last question asked for one.

Works on words alone; it does not know where a guess came from. `Lexicon` is English words that are no names.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from ingest.scrub.words import ALSO_NAMES, COMMON, PLACES

NOBODY: Final = COMMON | PLACES
ASKS_NAME: Final = re.compile(
    r"(?i)\b(?:your|the|account\s?holder'?s?|full|first|last|cardholder'?s?)\s(?:(?:full|first|last|good|complete|registered)\s)*"
    r"names?\b(?!\sof)|\bwho am i (?:speaking|chatting|talking)\b|\bname on the (?:account|order|card)\b"
)
_QUESTION: Final = re.compile(r"(?i)\?|\b(?:please|kindly|provide|share|confirm|need|tell|give|may i|could you|what)\b")
_PREFIX: Final = re.compile(
    r"(?i)\s*(?:(?:yes|yeah|sure|ok|okay|hi|hello|of course|certainly|it'?s|it is|its|i'?m|i am|this is|name|"
    r"my name is|name is|the name is|my name'?s|full name)\b[\s,:.!-]*)*"
)
_ANSWER: Final = re.compile(r"[^\W\d_][^\W\d_'’.-]*(?:['’.-][^\W\d_]+)*\.?(?:[ ]+[^\W\d_]+(?:['’.-][^\W\d_]+)*){0,3}")
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’.-][^\W\d_]+)*")


def asks_for_name(text: str) -> bool:
    """Does this message, most likely an agent's, ask for a person's name?"""
    return bool(ASKS_NAME.search(text) and _QUESTION.search(text))


def answered_name(text: str) -> tuple[int, int] | None:
    """Where the name stands in an answer to that question, if the message begins with one."""
    prefix = _PREFIX.match(text)
    start = prefix.end() if prefix else 0
    match = _ANSWER.match(text, start)
    if match is None:
        return None
    end = match.end()
    words = match.group().split()
    if len(words) > 3 or text[end : end + 1] not in ("", ",", ".", "!", "?", "\n", ";", "-", "(", " "):
        return None
    if text[end : end + 1] == " " and text[end : end + 2].strip() not in ("-", "(", "", ","):
        return None
    return start, end


def trimmed_name(text: str, start: int, end: int, lexicon: Collection[str]) -> tuple[int, int] | None:
    """The part of a guess that may be a name, or nothing.

    Common words are cut off both ends; a single word that is an ordinary English verb, adjective or adverb is none.
    """
    words = [(m.start() + start, m.end() + start) for m in _WORD.finditer(text[start:end])]
    if any(c.isdigit() or c in "@#/‹›<>_" for c in text[start:end]):
        return None

    def common(word: tuple[int, int]) -> bool:
        return text[word[0] : word[1]].casefold().removesuffix("'s").removesuffix("’s") in NOBODY

    while words and common(words[0]):
        words.pop(0)
    for i, word in enumerate(words):
        if common(word):
            words = words[:i]
            break
    if not words:
        return None
    start, end = words[0][0], words[-1][1]
    if text[start:end].casefold().endswith(("'s", "’s")):
        end -= 2
    if end - start < 2:
        return None
    if len(words) == 1 and is_word(text[start:end], lexicon):
        return None
    return start, end


def believable(name: str, lexicon: Collection[str]) -> bool:
    """May a small model's word be taken for it? Written small, only two words or more that are no English words."""
    if name != name.lower():
        return True
    words = name.split()
    return len(words) > 1 and not any(is_word(word, lexicon) for word in words)


def is_word(word: str, lexicon: Collection[str]) -> bool:
    """An ordinary English word rather than a name."""
    plain = word.casefold()
    return plain in NOBODY or (plain in lexicon and plain not in ALSO_NAMES)
