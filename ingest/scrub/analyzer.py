"""Finds personal data in single texts: Presidio's rules and model, lists of names, and answers to what was asked.

Knows placeholders by their shape only, and no vault; of the conversation only what the other side asked for.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Final

from ingest.scrub import answers, names, places
from ingest.scrub.chat.model import trained
from ingest.scrub.gazetteer import Lexicon, plain
from ingest.scrub.placeholders import stretches
from ingest.scrub.presidio import BATCH, NER_SCORE, Presidio, checked
from ingest.scrub.recognizers import RULES, own_order_rules
from ingest.scrub.spans import Span, masked
from ingest.scrub.words import TOLD_TOO

_ENDLESS: Final = re.compile(r"\S{200,}")
_USER: Final = re.compile(r"(?!\d+$)[\w.@-]{4,40}")
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
LONGEST_CUE: Final = 16  # characters
_CLITIC: Final = re.compile(r"['’](?:re|ve|ll|d|m|t)\Z")
_DETERMINED: Final = re.compile(r"(?i)\b(?:an?|the|this|that|these|those|some|any|each|every|your|our|their)\s\Z")
_NAMED: Final = re.compile(r"(?i)\b(?:names?(?:\s(?:is|was))?|mrs?|ms|miss|dr)[.:]?\s\Z")
_SPELLED: Final = re.compile(r"(?:[^\W\d_][ -]){3,}[^\W\d_]")
TOLD_SCORE: Final = 0.88  # of the rules for names that are told as such
CHAT_SCORE: Final = 0.61
TOGETHER: Final = 128  # texts, at most, and of so many characters
LONGEST_TOGETHER: Final = 20_000
LOOSE_ADDRESS: Final = 0.66  # a pattern of numbers and words alone: one of them must be no English word
NOBODY_ASKED: Final[frozenset[str]] = frozenset()


def _parts(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Texts that are read together: enough to be quick, few enough that a customer's message need not wait for long."""
    start = length = 0
    for i, text in enumerate(texts):
        if i > start and (i - start >= TOGETHER or length + len(text) > LONGEST_TOGETHER):
            yield texts[start:i]
            start, length = i, 0
        length += len(text)
    if start < len(texts):
        yield texts[start:]


class Analyzer:
    """Finds personal data. Thread-safe: one call at a time, as spaCy's vocabulary is shared."""

    def __init__(self, order_id_patterns: Sequence[str] = ()) -> None:
        self._lock = threading.Lock()
        self._presidio = Presidio((*RULES, *own_order_rules(checked(order_id_patterns))))
        self._chat = trained(self._presidio.nlp.vocab)
        index = self._presidio.lookups.get_table("lemma_index")
        words = frozenset(word for part in ("verb", "adj", "adv") for word in index[part])
        irregular = self._presidio.lookups.get_table("lemma_exc")
        self._lexicon = Lexicon(words, frozenset(index["noun"]), frozenset(irregular["verb"]))
        self.find(["warm up: order ORD-2024-00123 for jo@shop.example, says Tomasz"])

    def find(self, texts: Sequence[str], kinds: Sequence[frozenset[str]] = ()) -> list[list[Span]]:
        """Spans of each text, in no order; they may overlap. `kinds` is what each may be the answer to."""
        found = [spans for part in _parts(texts) for spans in self._read(part)]
        wanted = kinds or [NOBODY_ASKED] * len(texts)
        return [self._whole(text, spans, asks) for text, spans, asks in zip(texts, found, wanted, strict=True)]

    def _read(self, texts: Sequence[str]) -> list[list[Span]]:
        """What Presidio and the models find. Holds others off meanwhile."""
        shown = [_calm(text) for text in texts]
        own = [masked(text, stretches(text)) for text in shown]  # placeholders are nobody's words
        worth = [self._may_name(text) for text in own]
        small = [not any(c.isupper() for c in text) for text in own]
        chat = [i for i in range(len(texts)) if worth[i] and small[i]]
        with self._lock, self._presidio.nlp.memory_zone():  # spaCy forgets the words of a text when the zone ends
            read = self._presidio.read(shown, [w and not s for w, s in zip(worth, small, strict=True)])
            found = [self._presidio.find(text, each) for text, each in zip(texts, read, strict=True)]
            docs = self._chat.pipe([read[i].tokens for i in chat], batch_size=BATCH)
            for i, doc in zip(chat, docs, strict=True):
                found[i] += self._of_chat(texts[i], doc)
        return found

    def is_word(self, word: str) -> bool:
        """An ordinary English word, which a name found elsewhere must not drag along."""
        return self._lexicon.ordinary(word) and not self._lexicon.only_first(word)

    def _whole(self, text: str, spans: list[Span], asks: frozenset[str]) -> list[Span]:
        every = list(self._sifted(text, spans))
        every += names.listed(text, self._lexicon)
        every += names.introduced(text, self._lexicon)
        every += answers.given(text, asks, self._lexicon)
        every += answers.within(text, self._lexicon)
        every = [names.hyphenated(text, span) if span.kind == "PERSON" else span for span in every]
        return places.completed(text, every, self._lexicon)

    def _sifted(self, text: str, spans: Sequence[Span]) -> Iterator[Span]:
        for span in spans:
            if span.kind != "PERSON":
                if span.kind != "ADDRESS" or span.score > LOOSE_ADDRESS or self._strange(text, span):
                    yield span
                continue
            place = names.trimmed(text, span.start, span.end, self._lexicon)
            if span.score >= TOLD_SCORE and self._told(text[span.start : span.end]):
                place = span.start, span.end  # 'my name is grace', 'my name is farida walling'
            elif _SPELLED.fullmatch(text, span.start, span.end):
                place = span.start, span.end
            if place and (span.score > NER_SCORE or names.believable(text[place[0] : place[1]], self._lexicon)):
                yield Span(*place, "PERSON", span.score)

    def _told(self, name: str) -> bool:
        """Of what was told as somebody's name: is all of it?"""
        first, *others = name.split()
        if plain(first) in TOLD_TOO or self._lexicon.first(first):
            return all(map(self._lexicon.last, others))
        return bool(others) and not self._lexicon.english(first) and all(map(self._lexicon.last, others))

    def _strange(self, text: str, span: Span) -> bool:
        return any(not self._lexicon.english(m.group()) for m in _WORD.finditer(text, span.start, span.end))

    def _may_name(self, text: str) -> bool:
        """Is there a word that is not plain English? Only then is the model worth its time."""
        for match in _WORD.finditer(text):
            word = match.group()
            if not self._lexicon.english(word):
                if names.is_brand(text, *match.span()):
                    continue
                return True
            big = word[0].isupper() and len(word) > 1 and not self._lexicon.is_word(_CLITIC.sub("", word))
            if big and (names.inside(text, match.start()) or self._lexicon.listed_first(word)):
                return True
        return False

    def _of_chat(self, text: str, doc: Any) -> Iterator[Span]:
        """What the chat model says, without what has not the shape of it."""
        for ent in doc.ents:
            start, end, kind = ent.start_char, ent.end_char, ent.label_
            value = text[start:end]
            if kind == "PERSON":
                place = names.trimmed(text, start, end, self._lexicon)
                if place and self._told_by_chat(text, *place):
                    yield Span(*place, kind, CHAT_SCORE)
            elif kind == "ADDRESS":
                if any(c.isdigit() for c in value) and self._like_an_address(value):
                    yield Span(start, end, kind, CHAT_SCORE)
            elif _USER.fullmatch(value) and not self._lexicon.in_dictionary(value):
                yield Span(start, end, kind, CHAT_SCORE)

    def _like_an_address(self, value: str) -> bool:
        """Not 'kettle number 3 whistle': it begins with a number, or a word of it is a street's or in no dictionary."""
        words = _WORD.findall(value)
        if value[0].isdigit() and len(words) > 1:
            return True
        return any(places.STREET.fullmatch(word) or not self._lexicon.in_dictionary(word) for word in words)

    def _told_by_chat(self, text: str, start: int, end: int) -> bool:
        """No English word in it but a first name; and where nothing stands around it, it must be on the lists."""
        words = text[start:end].split()
        before = text[max(0, start - LONGEST_CUE) : start]
        if len(words) == 1 and self._lexicon.in_dictionary(words[0]) and not _NAMED.search(before):
            known = self._lexicon.listed_first(words[0]) or self._lexicon.often_last(words[0])
            if not known or _DETERMINED.search(before):
                return False  # 'money', 'this mark'
        if any(self._lexicon.english(word) for word in words):
            named = len(words) > 1 and self._lexicon.first(words[0]) and not self._lexicon.in_dictionary(words[-1])
            return named and all(word.isalpha() for word in words)
        alone = not any(c.isalnum() for c in text[:start] + text[end:])
        return not alone or self._lexicon.first(words[0]) or self._lexicon.last(words[-1])


def _calm(text: str) -> str:
    """The text at the same length, its endless words broken up: spaCy's time grows with their length squared."""
    return _ENDLESS.sub(lambda match: "".join(c if c.isalnum() else " " for c in match.group()), text)
