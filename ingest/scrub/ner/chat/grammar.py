"""Made-up chat sentences of any build: a name, or a word that nobody knows, may stand wherever a noun may.

Templates teach set phrases; these teach the rest, with typing errors that are no names. Each text comes with the spans
of people's names. Knows no model; `templates` mixes them among its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

VERBS: Final = (
    "said told asked called sent gave took ordered bought wanted returned received opened broke lost "
    "found brought left made paid promised refused cancelled changed picked signed shipped delivered "
    "helped answered wrote emailed texted heard saw needs wants has had got gets says knows thinks likes "
    "loves hates uses used owns keeps kept tried tries does did works worked lives moved forgot remembers "
    "recommended suggested mentioned explained confirmed handled fixed checked noticed complained waited "
    "stopped"
).split()
ROOTS: Final = (
    "call tell ask send give take order buy return help answer email text see need want get know use keep "
    "try check fix handle find bring leave pay sign ship deliver pick drop contact meet thank remind "
    "notify add remove change confirm forward let have make"
).split()
AUX: Final = (
    "can could will would should did does is was has may might must can't won't didn't doesnt isnt wouldnt"
).split()
PREPOSITIONS: Final = (
    "for to from with by about at under of behind near without besides except like after before"
).split()
PRONOUNS: Final = (
    "i you he she it we they me him her us them u someone somebody nobody everyone who this that"
).split()
DETERMINERS: Final = ("the a my your his her our their this that some another no any every one of the").split()
JOINTS: Final = ("and but because so when if or since while who that which then cuz bc").split()
LEADS: Final = (
    "ok so well yes yeah no hi hey hello thanks sorry lol um actually btw honestly please pls look listen "
    "also and oh wait"
).split()
TAILS: Final = (
    "please today yesterday again now already lol thanks ok right tho though too yet anyway soon tomorrow "
    "last week btw asap"
).split()
NOISE: Final = (
    "lol idk tho rn omg smh ngl fr imo tbh lmk ikr ty tysm np pls plz kinda sorta gonna wanna gotta dunno lemme cuz bc"
).split()
SLIP: Final = 0.04  # of words
NAMED: Final = 0.4  # of noun phrases


class Grammar:
    """Makes sentences out of one random source."""

    def __init__(self, rng: random.Random, name: Callable[[], str], nouns: Callable[[], str]) -> None:
        self._rng = rng
        self._name = name
        self._nouns = nouns

    def sentence(self) -> tuple[str, list[tuple[int, int]]]:
        """Return a text and the start and end of each name in it."""
        parts = self._clause()
        if self._rng.random() < 0.35:
            parts += [(self._rng.choice(JOINTS), False), *self._clause()]
        if self._rng.random() < 0.3:
            parts.insert(0, (self._rng.choice(LEADS) + self._rng.choice(("", "", ",")), False))
        if self._rng.random() < 0.3:
            parts.append((self._rng.choice(TAILS), False))
        text, spans = "", []
        for word, named in parts:
            text += " " * bool(text)
            shown = word if named or self._rng.random() > SLIP else self._slipped(word)
            if named:
                spans.append((len(text), len(text) + len(shown)))
            text += shown
        return text + self._rng.choice(("", "", "", ".", "?", "!", "...")), spans

    def _clause(self) -> list[tuple[str, bool]]:
        any_of = self._rng.choice
        verb, root, aux = ([(any_of(words), False)] for words in (VERBS, ROOTS, AUX))
        noun, where = self._noun, self._where
        builds: tuple[Callable[[], list[tuple[str, bool]]], ...] = (
            lambda: [*noun(), *verb, *noun()],
            lambda: [*noun(), *verb, *noun(), *where()],
            lambda: [*noun(), *verb],
            lambda: [*root, *noun(), *where()],
            lambda: [*root, *noun(), *root, *noun()],
            lambda: [*aux, *noun(), *root, *noun()],
            lambda: [*noun(), *aux, *root, *noun()],
            lambda: [(any_of(("it was", "its")), False), *noun(), (any_of(("who", "that")), False), *verb, *noun()],
            lambda: [("it is", False), *noun()],
            lambda: [*noun(), ("and", False), *noun(), *verb, *noun()],
            lambda: [(any_of(("why", "when", "how", "where")), False), *aux, *noun(), *root],
            lambda: [(any_of(PRONOUNS), False), *verb, *where()],
            lambda: [("i'd like to", False), *root, *noun(), *where()],
            lambda: [(any_of(("there is", "theres", "is there")), False), *noun(), *where()],
        )
        return any_of(builds)()

    def _where(self) -> list[tuple[str, bool]]:
        return [(self._rng.choice(PREPOSITIONS), False), *self._noun()]

    def _noun(self) -> list[tuple[str, bool]]:
        draw = self._rng.random()
        if draw < NAMED:
            named = [(self._name(), True)]
            return [*named, ("and", False), *self._noun()] if self._rng.random() < 0.08 else named
        if draw < 0.6:
            return [(self._rng.choice(PRONOUNS), False)]
        if draw < 0.95:
            return [(self._rng.choice(DETERMINERS), False), (self._nouns(), False)]
        return [(self._rng.choice(NOISE), False)]

    def _slipped(self, word: str) -> str:
        """Return the word with a letter too many or too few, or two letters in the wrong order."""
        if len(word) < 4 or not word.isalpha():
            return word
        at = self._rng.randrange(1, len(word) - 1)
        return self._rng.choice(
            (
                word[:at] + word[at + 1 :],
                word[:at] + word[at] + word[at:],
                word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            )
        )
