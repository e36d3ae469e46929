"""People's names as lists: first and last names of the United States' census, as the `names` package brings them.

Says what a word may be; does not look at its neighbours. All words are in lowercase.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Container, Iterator
from functools import cache, lru_cache
from importlib import resources
from typing import Final

from ingest.scrub.names.words import BRANDS, COMMON, NAMES_ALSO_WORDS, PLACES, WORDS_ALSO_NAMES

LONG: Final = 6
LONGEST: Final = 64  # letters; what is longer is no word, and looking for slips in it takes their number squared
FREQUENT: Final = 2500
PACKAGE: Final = "names"
_NOBODY: Final = COMMON | PLACES | BRANDS
FIRST_FILES: Final = ("dist.male.first", "dist.female.first")
LAST_FILES: Final = ("dist.all.last",)
_ENDINGS: Final = ("s", "es", "ed", "d", "ing", "er", "est", "ly", "n't", "'s", "'re", "'ll", "'ve", "'m", "'d", "nt")


class Lexicon:
    """A lexicon that says whether a word may be a name, an ordinary word or both."""

    def __init__(
        self, words: Collection[str], nouns: Collection[str], irregular: Collection[str], written: Container[str]
    ) -> None:
        """`words` are verbs, adjectives and adverbs, `irregular` forms such as 'bought'; some `nouns` are names too.

        Nouns count as ordinary words if they are among what is `written`: 'kettle', not 'felicity'.
        """
        self.words = words
        self.nouns = nouns
        self._usual = frozenset(noun for noun in nouns if noun in written)
        self._irregular = irregular
        self._english = lru_cache(maxsize=65536)(self._is_english)

    def listed_first(self, word: str) -> bool:
        """Return whether it is on the list of first names, whatever else it is."""
        return plain(word) in census(FIRST_FILES)

    def first(self, word: str) -> bool:
        """Return whether it is a first name that is no place, no brand and no common word."""
        low = plain(word)
        return low in census(FIRST_FILES) and low not in _NOBODY

    def only_first(self, word: str) -> bool:
        """Return whether it is a first name that is hardly anything else, even in lowercase."""
        low = plain(word)
        return self.first(low) and low not in NAMES_ALSO_WORDS and (low not in self.words or low in WORDS_ALSO_NAMES)

    def last(self, word: str) -> bool:
        """Return whether it is a last name that is no brand and no common word; many are other words too."""
        low = plain(word)
        return low in census(LAST_FILES) and low not in COMMON and low not in BRANDS

    def often_last(self, word: str) -> bool:
        """Return whether it is one of the most frequent last names."""
        return plain(word) in census(LAST_FILES, FREQUENT)

    def is_word(self, word: str) -> bool:
        """Return whether it is a word rather than a name: common, a brand, or an English verb, adjective or adverb."""
        low = plain(word)
        return low in _NOBODY or (low in self.words and low not in WORDS_ALSO_NAMES)

    def ordinary(self, word: str) -> bool:
        """Return whether it is a word as `is_word` has it, or a noun: alone and in lowercase it is then no name."""
        low = plain(word)
        if low in WORDS_ALSO_NAMES:
            return False
        return self.is_word(low) or low in NAMES_ALSO_WORDS or self._noun(low)

    def unknown(self, word: str) -> bool:
        """Return whether it is no English word, no place and no brand that is known."""
        return not self.ordinary(word)

    def english(self, word: str) -> bool:
        """Return whether it is an ordinary word in any form, such as 'deliveries' or 'paid', and not likely a name."""
        return len(word) <= LONGEST and self._english(word.casefold())

    def in_dictionary(self, word: str) -> bool:
        """Return whether it is an English word, also one that is a name in dictionaries."""
        low = word.casefold()
        return self.english(low) or any(
            stem in self.nouns for stem in (low, low.removesuffix("s"), low.removesuffix("es"))
        )

    def _is_english(self, low: str) -> bool:
        if self.only_first(low):
            return False
        low = "".join(c for c in unicodedata.normalize("NFKD", low) if not unicodedata.combining(c))  # 'café'
        if self.ordinary(low) or _misspelt(low) or (low in self._irregular and not self.listed_first(low)):
            return True
        return any(
            low.endswith(end) and any(self.ordinary(stem) for stem in _stems(low.removesuffix(end))) for end in _ENDINGS
        )

    def _noun(self, low: str) -> bool:
        for noun in (low, low.removesuffix("s"), low.removesuffix("es")):
            if noun in self._usual and noun not in census(FIRST_FILES) and noun not in census(LAST_FILES):
                return True
        return False


def _stems(stem: str) -> tuple[str, ...]:
    doubled = stem[:-1] if len(stem) > 2 and stem[-1] == stem[-2] else stem
    return stem, stem + "e", doubled, stem[:-1] + "y" if stem.endswith("i") else stem


def _misspelt(low: str) -> bool:
    """Return whether it is a common word of six letters or more with one typing error.

    An error is one letter too many, too few or wrong, or two letters in the wrong order.

    'tomorow' is; 'farida', two steps from 'friday', and 'samer', one from a short word, may be somebody's name.
    """
    if len(low) < LONG - 1 or low in census(FIRST_FILES) or low in census(LAST_FILES):
        return False
    long, holes = _long_words()
    swapped = (low[:i] + low[i + 1] + low[i] + low[i + 2 :] for i in range(len(low) - 1))
    return (
        any((low, i) in holes for i in range(len(low) + 1))  # too few
        or any(each in holes or each[0] in long for each in _holes(low))  # wrong, or too many
        or any(each in long for each in swapped)
    )


def _holes(word: str) -> Iterator[tuple[str, int]]:
    """Yield the word without each of its letters, and the position of that letter."""
    return ((word[:i] + word[i + 1 :], i) for i in range(len(word)))


@cache
def _long_words() -> tuple[frozenset[str], frozenset[tuple[str, int]]]:
    long = frozenset(word for word in COMMON if len(word) >= LONG)
    return long, frozenset(hole for word in long for hole in _holes(word))


def plain(word: str) -> str:
    """Return the word in lowercase, without a possessive ending."""
    return word.casefold().removesuffix("'s").removesuffix("’s")


@cache
def census(files: tuple[str, ...], most: int | None = None) -> frozenset[str]:
    """Return all names of these files, or the `most` frequent of each."""
    folder = resources.files(PACKAGE)
    lines = (line for file in files for line in (folder / file).read_text("ascii").split("\n")[:most])
    return frozenset(line.split()[0].casefold() for line in lines if line.strip())
