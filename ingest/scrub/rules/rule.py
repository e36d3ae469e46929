"""A rule: a pattern with the sentences it is tested on, and the features of a text that it needs.

Knows nothing of Presidio, nor of other messages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

# a code has a digit and at least four characters
CODE: Final = r"(?=[\w/-]{0,40}\d)[A-Za-z0-9][\w/-]{2,40}[A-Za-z0-9]"
IS: Final = r"(?:\s{0,2}(?:\b(?:is|was|are|being|it'?s|as)\b|[:=#\u2013-]|\()){0,3}\s{0,2}"
NO: Final = r"(?i:id|ids|no\.?|nos\.?|nr\.?|num|number|numbers|ref(?:erence)?|code|\#)"

CAPITAL: Final = frozenset({"A"})
DIGIT: Final = frozenset({"0"})
FIVE_DIGITS: Final = frozenset({"00000"})
HYPHENS: Final = frozenset({"----"})
_WORD: Final = re.compile(r"\w+")
_FIVE: Final = re.compile(r"\d{5}")


def words(text: str) -> frozenset[str]:
    """Return the text's words, as `features` has them."""
    return frozenset(_WORD.findall(text.casefold()))


def features(text: str) -> frozenset[str]:
    """Return the text's words in lowercase, and marks of what else is in it.

    The marks are "A" for a capital letter, "0" for a digit, "00000" for five in a row, "----" for four hyphens.
    """
    marks = {
        "A": any(map(str.isupper, text)),
        "0": any(map(str.isdigit, text)),
        "00000": _FIVE.search(text) is not None,
        "----": text.count("-") >= 4,
    }
    return words(text).union(mark for mark, there in marks.items() if there)


@dataclass(frozen=True, slots=True)
class PatternRule:
    """One pattern for one kind of personal data."""

    kind: str
    #: for tests and reports
    name: str
    #: for the `regex` module
    pattern: str
    #: under 0.4 it counts only where a `context` word is near
    score: float
    #: sentences and what it must find in them
    finds: tuple[tuple[str, str], ...]
    #: sentences in which it must find nothing
    spares: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    #: saves time: the pattern is tried only where the text has one of the `features` in each of these
    needs: tuple[frozenset[str], ...] = ()
