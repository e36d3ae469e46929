"""Makes digits and letters that only look different the same, so that patterns can find them.

Text in any language comes out unchanged except for this: it is composed (NFC), decimal digits of every script and
full-width forms become ASCII, invisible characters are removed where they could hide something, control characters are
removed and lone surrogates replaced. Does not know what personal data is.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

MOST_MARKS: Final = 30
FIRST_MARK: Final = "\u0300"
JOINT: Final = "\u034f"
JOINERS: Final = {"\u200c", "\u200d"}  # meaningful inside emoji and some scripts, not beside ASCII
KEPT_CONTROLS: Final = {"\t", "\n", "\r"}


def normalise(text: str) -> str:
    """Return the text with look-alikes made the same. Idempotent; never fails."""
    if text.isascii() and text.isprintable():
        return text
    composed = unicodedata.normalize("NFC", _broken_up(text))
    return unicodedata.normalize("NFC", _broken_up("".join(out for _, out in _simplified(composed))))


def aligned(text: str) -> tuple[str, Sequence[tuple[int, int]]]:
    """Return the normalised text, and for each of its characters where it comes from: start and end in `text`."""
    if text.isascii() and text.isprintable():
        return text, [(i, i + 1) for i in range(len(text))]
    composed = _composed(_with_joiners([(char, (i, i + 1)) for i, char in enumerate(text)]))
    shown = "".join(char for char, _ in composed)
    simple = [(out, composed[i][1]) for i, whole in _simplified(shown) for out in whole]
    done = _composed(_with_joiners(simple))
    return "".join(char for char, _ in done), [origin for _, origin in done]


def _broken_up(text: str) -> str:
    """Return the text with a grapheme joiner after each 30 combining marks in a row.

    Composing takes the square of their number otherwise (Unicode Standard Annex 15, section 13: Stream-Safe Text).
    """
    joints = _long_runs(text)
    if not joints:
        return text
    return JOINT.join(text[a:b] for a, b in itertools.pairwise([0, *joints, len(text)]))


def _long_runs(text: str) -> list[int]:
    """Return the positions of combining marks that follow 30 others."""
    joints, run = [], 0
    for i, char in enumerate(text):
        if char < FIRST_MARK or not unicodedata.combining(char):
            run = 0
            continue
        if run == MOST_MARKS:
            joints.append(i)
            run = 0
        run += 1
    return joints


def _with_joiners(chars: Sequence[tuple[str, tuple[int, int]]]) -> Sequence[tuple[str, tuple[int, int]]]:
    joints = _long_runs("".join(char for char, _ in chars))
    if not joints:
        return chars
    done: list[tuple[str, tuple[int, int]]] = []
    for a, b in itertools.pairwise([0, *joints, len(chars)]):
        done += [(JOINT, (chars[a][1][0], chars[a][1][0]))] if a else []
        done += chars[a:b]
    return done


def _simplified(composed: str) -> Iterator[tuple[int, str]]:
    """Yield what stays of each character, after its position."""
    previous, following, ahead = "", "", 0
    for i, char in enumerate(composed):
        if not " " <= char <= "~":
            if char in JOINERS:
                ahead = _visible(composed, max(ahead, i + 1))
                following = _plain(composed[ahead]) if ahead < len(composed) else ""
            if _hides(char, previous, following):
                continue
            char = _plain(char)
        yield i, char
        previous = char


def _composed(chars: Sequence[tuple[str, tuple[int, int]]]) -> list[tuple[str, tuple[int, int]]]:
    """Compose (NFC); each new character has the origin of the ones it was made of."""
    done: list[tuple[str, tuple[int, int]]] = []
    group, start, end = "", 0, 0
    for char, origin in chars:
        if group and (char.isascii() or _apart(group, char)):
            done += [(each, (start, end)) for each in unicodedata.normalize("NFC", group)]
            group = ""
        if not group:
            start, end = origin
        group, end = group + char, max(end, origin[1])
    done += [(each, (start, end)) for each in unicodedata.normalize("NFC", group)]
    return done


def _apart(group: str, char: str) -> bool:
    """Return whether composing these together is the same as composing each by itself."""
    form = unicodedata.normalize
    return not unicodedata.combining(char) and form("NFC", group + char) == form("NFC", group) + form("NFC", char)


def _visible(text: str, at: int) -> int:
    """Return the position of the next character that is not invisible."""
    while at < len(text) and text[at] not in KEPT_CONTROLS and unicodedata.category(text[at]) in ("Cc", "Cf"):
        at += 1
    return at


def _hides(char: str, previous: str, following: str) -> bool:
    """Return whether the character may hide something and is to be removed."""
    category = unicodedata.category(char)
    if category == "Cc":
        return char not in KEPT_CONTROLS
    if char in JOINERS:
        return not previous or previous.isascii() or previous in JOINERS or not following or following.isascii()
    if category == "Cf":
        return True
    # marks on digits or punctuation, such as a combining underline or an emoji selector
    return category.startswith("M") and previous.isascii() and not previous.isalpha()


@lru_cache(maxsize=4096)
def _plain(char: str) -> str:
    category = unicodedata.category(char)
    if category == "Cs":
        return "\ufffd"
    if category == "Nd":
        return str(unicodedata.decimal(char))
    form = unicodedata.normalize("NFKC", char)
    if form.isascii() and (len(form) == 1 or form.isdigit()):
        return form
    return char


def lower(text: str) -> str:
    """Return the text in lower case, at the same length."""
    low = text.lower()
    if len(low) == len(text):
        return low
    return "".join(lowered if len(lowered := c.lower()) == 1 else c for c in text)
