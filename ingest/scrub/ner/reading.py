"""Finds names and places with two small models: chooses which of them reads a text, and which guesses to believe.

They read stand-ins for what was found already. Knows no rule and no conversation.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from ingest.scrub.names import finder
from ingest.scrub.names.gazetteer import Lexicon, plain
from ingest.scrub.names.words import COLOURS, COMMON, FOREIGN
from ingest.scrub.ner.chat.model import trained
from ingest.scrub.ner.span_cache import SpanCache
from ingest.scrub.ner.standin import ModelChoice, ModelText
from ingest.scrub.presidio import lean
from ingest.scrub.presidio.engine import NER_SCORE, Presidio, recognized
from ingest.scrub.rules import addresses
from ingest.scrub.spans import Bounds, Span

CHAT_SCORE: Final = 0.61
LONGEST_CUE: Final = 16  # characters
LANGUAGES: Final = ("de", "es", "fr", "it", "nl", "pl", "pt", "sv")  # whose commonest words are nobody's names
PREFIXES: Final = frozenset(
    {"anti", "co", "counter", "cross", "e", "ex", "extra", "inter", "mid", "mini", "multi", "non", "over", "post"}
    | {"pre", "re", "self", "semi", "sub", "un"}
)
WORD: Final = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
NAME: Final = re.compile(r"[^\W\d_]+(?:['’.-][^\W\d_]+)*")
_TWO_LETTERS: Final = re.compile(r"[^\W\d_]{2}")
_NO_COMMAS: Final = str.maketrans(",./?!", "     ")
_USER: Final = re.compile(r"(?!\d{4,40}\Z)[\w.@-]{4,40}")
_CLITIC: Final = re.compile(r"['’](?:re|ve|ll|d|m|t)\Z")
_DETERMINED: Final = re.compile(
    r"(?i)\b(?:an?|the|this|that|these|those|some|any|each|every|your|our|their|my|another|no|one|such|more|which|what|much|many)\s\Z"
)
_NAMED: Final = re.compile(
    r"(?i)\b(?:names?(?:\s(?:is|was))?|mrs?|ms|miss|dr|aunt|auntie|uncle|cousin|named|called|calls?\sme|goes\sby|go\sby|hi|hey|hello|hiya|"
    r"dear|thanks|thank\syou|thx|ty|cheers|bye|goodbye|sorry|courier|driver|boss|under|attn|made\sout\sto|reservation\sfor|booking\sfor|"
    r"behalf\sof|told\sby|helped\sby|signed\sby|talked\sto|spoke\s(?:to|with)|speak\s(?:to|with)|ask\sfor|from|last\sname|maiden\sname)[.:,]?\s\Z"
)


class NameModels:
    """Both models. Not thread-safe, as they share spaCy's vocabulary."""

    def __init__(self, presidio: Presidio, lexicon: Lexicon) -> None:
        self._presidio = presidio
        self._lexicon = lexicon
        self._chat = trained(presidio.nlp.vocab)
        self._cache = SpanCache()
        self._abroad = frozenset(word for word in _stop_words() | FOREIGN if not lexicon.listed_first(word))
        self._nobody = COMMON | self._abroad | {"may", "dr", "prof", "st"}  # when in lowercase

    def find(self, texts: Sequence[ModelText]) -> list[list[Span]]:
        """Return spans of each model text. Those of recent texts are remembered."""
        keys = [self._cache.key(text.text, repr(text.standins), text.model.name) for text in texts]
        known = self._cache.recall(keys)
        fresh = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        read = {key: tuple(found) for key, found in zip(fresh, self._read(list(fresh.values())), strict=True)}
        self._cache.keep(read)
        known |= read
        return [list(known[key]) for key in keys]

    def _read(self, texts: Sequence[ModelText]) -> list[list[Span]]:
        found: list[list[Span]] = [[] for _ in texts]
        large = [i for i, text in enumerate(texts) if text.model is ModelChoice.LARGE]
        chats = [i for i, text in enumerate(texts) if text.model is ModelChoice.CHAT]
        for i, people in zip(large, self._presidio.people([texts[i].text for i in large]), strict=True):
            found[i] = [span for each in people if (span := self._person(texts[i].text, each))]
        docs = [self._presidio.nlp.make_doc(texts[i].text) for i in chats]
        for i, doc in zip(chats, recognized(self._chat, docs), strict=True):
            found[i] = list(self._of_chat(texts[i].text, doc))
        return found

    def choose(self, own: str) -> ModelChoice:
        """Return which model reads a text.

        None does if its words are plain English; the large one does if a strange word has a capital.
        """
        model = ModelChoice.NONE
        for match in WORD.finditer(own):
            word = match.group()
            if word in self._nobody or word.casefold() in self._abroad:
                continue
            strange = not self._lexicon.english(word)
            if strange and finder.is_brand(own, *match.span()):
                continue
            if word[0].isupper() and len(word) > 1:
                if not strange and self._lexicon.is_word(_CLITIC.sub("", word)):
                    continue
                if finder.inside(own, match.start()) or (strange and not word[1:].islower()):
                    return ModelChoice.LARGE
                if strange or self._lexicon.listed_first(word):
                    model = ModelChoice.CHAT
            elif strange:
                model = ModelChoice.CHAT
        return model

    def _person(self, text: str, guess: Bounds) -> Span | None:
        bounds = finder.trimmed(text, *guess, self._lexicon)
        if bounds and finder.believable(text[bounds[0] : bounds[1]], self._lexicon):
            return Span(*bounds, "PERSON", NER_SCORE)
        return None

    def _of_chat(self, text: str, doc: Any) -> Iterator[Span]:
        """Yield what the chat model finds, without what does not have the shape of its kind."""
        for ent in doc.ents:
            start, end, kind = ent.start_char, ent.end_char, ent.label_
            value = text[start:end]
            if kind == "PERSON":
                if believed := self._believed(text, start, end):
                    yield Span(*believed, kind, CHAT_SCORE)
            elif kind == "ADDRESS":
                if any(c.isdigit() for c in value) and self._like_an_address(value):
                    yield Span(start, end, kind, CHAT_SCORE)
            elif _USER.fullmatch(value) and not self._lexicon.in_dictionary(value):
                yield Span(start, end, kind, CHAT_SCORE)

    def _like_an_address(self, value: str) -> bool:
        """Return whether it begins with a number, or has a word for streets or one in no dictionary.

        'kettle number 3 whistle' does not.
        """
        words = WORD.findall(value)
        if value[0].isdigit() and len(words) > 1:
            return True
        return any(addresses.STREET.fullmatch(word) or not self._lexicon.in_dictionary(word) for word in words)

    def _believed(self, text: str, start: int, end: int) -> Bounds | None:
        """Return the bounds of what is believed of the chat model's guess.

        A word of the dictionary is, beside one that is in none, or where the words before it announce a person.
        """
        trimmed = finder.trimmed(text, start, end, self._lexicon)
        if not trimmed:
            return None
        words = [(m.start(), m.end()) for m in NAME.finditer(text, trimmed[0], end)]
        strange = [i for i, (a, b) in enumerate(words) if self._strange(text[a:b])]
        if not strange:
            before = text[max(0, trimmed[0] - LONGEST_CUE) : trimmed[0]]
            word = text[slice(*words[0])]
            called = len(words) == 1 and self._called(word, before) and not _a_colour(word, text)
            return words[0] if called else None
        left, right = strange[0], strange[-1]
        after = text[slice(*words[right + 1])] if right + 1 < len(words) else ""
        if self._lexicon.first(text[slice(*words[right])]) and self._lexicon.last(after):
            right += 1  # 'philippa crane'
        if left and self._like_a_first(text[slice(*words[left - 1])]):
            left -= 1  # 'ignatius pell'
        begin, over = words[left][0], words[right][1]
        if left == right and self._lexicon.in_dictionary(text[begin:over]):
            before = text[max(0, begin - LONGEST_CUE) : begin]
            if not (_NAMED.search(before) or self._named_so(text[begin:over], before)):
                return None  # 'money', 'this mark'
            if _a_colour(text[begin:over], text):
                return None
        alone = not any(text[i].isalnum() for i in itertools.chain(range(start), range(end, len(text))))
        known = self._lexicon.first(text[slice(*words[left])]) or self._lexicon.last(text[slice(*words[right])])
        return (begin, over) if known or not alone else None

    def _strange(self, word: str) -> bool:
        if not _TWO_LETTERS.search(word):
            return False  # 'a-b-c'
        if "-" in word and all(map(self._ordinary, word.split("-"))):
            return False  # 'customer-service', 'two-day'
        return not self._lexicon.english(word) and plain(word) not in self._nobody

    def _ordinary(self, part: str) -> bool:
        """Return whether a part of a word with hyphens is English and nobody's first name."""
        low = plain(part)
        known = self._lexicon.english(part) or low in self._nobody or low in PREFIXES
        return known and not self._lexicon.listed_first(part)

    def _like_a_first(self, word: str) -> bool:
        low = plain(word)
        return self._lexicon.first(low) or (low in self._lexicon.nouns and not self._lexicon.is_word(low))

    def _called(self, word: str, before: str) -> bool:
        """Return whether it is an English word that is a name here: 'aunt birdie', 'the courier, santos'."""
        if _NAMED.search(before):
            return self._lexicon.listed_first(word) or not self._lexicon.is_word(word)
        return plain(word) not in self._nobody and self._lexicon.first(word) and self._named_so(word, before)

    def _named_so(self, word: str, before: str) -> bool:
        """Return whether it is often a name, no verb or adjective, and without an article."""
        often = self._lexicon.listed_first(word) or self._lexicon.often_last(word)
        return often and not self._lexicon.is_word(word) and not _DETERMINED.search(before)


def _a_colour(word: str, text: str) -> bool:
    """Return whether it is a colour beside another one: 'ruby' of 'in ruby or navy'."""
    return word in COLOURS and len(COLOURS.intersection(text.translate(_NO_COMMAS).split())) > 1


def _stop_words() -> set[str]:
    return {word.casefold() for code in LANGUAGES for word in lean.stop_words(code)}
