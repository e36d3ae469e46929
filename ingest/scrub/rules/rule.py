"""What a rule is: a pattern with the sentences it is tested on, and the features of a text that it needs.

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
    """The text's words, as `features` has them."""
    return frozenset(_WORD.findall(text.casefold()))


def features(text: str) -> frozenset[str]:
    """Its words in any case, "A" for a capital letter, "0" for a digit, "00000" for five in a row, "----" for four hyphens."""
    marks = {
        "A": any(map(str.isupper, text)),
        "0": any(map(str.isdigit, text)),
        "00000": _FIVE.search(text) is not None,
        "----": text.count("-") >= 4,
    }
    return words(text).union(mark for mark, there in marks.items() if there)


@dataclass(frozen=True, slots=True)
class Rule:
    """One pattern. A `score` under 0.4 counts only when a `context` word stands near.

    `needs` saves time: the pattern is tried where the text has one of the `features` in each of these.
    """

    kind: str
    name: str
    pattern: str
    score: float
    finds: tuple[tuple[str, str], ...]
    spares: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    needs: tuple[frozenset[str], ...] = ()
