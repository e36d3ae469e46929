"""Finds personal data in single texts: rules, lists of names, answers to what was asked, the safety net, then models.

Knows placeholders by their shape only, and no vault; of the conversation it knows only what the other side asked for.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from typing import Final

from ingest.scrub.context import answers
from ingest.scrub.names import finder
from ingest.scrub.names.gazetteer import Lexicon, plain
from ingest.scrub.names.words import NAMES_WHERE_EXPECTED
from ingest.scrub.ner.reading import WORD, NameModels
from ingest.scrub.ner.standin import model_text
from ingest.scrub.placeholders import placeholder_spans
from ingest.scrub.presidio.engine import Presidio, checked
from ingest.scrub.rules import addresses, net
from ingest.scrub.rules.recognizers import RULES, own_order_rules
from ingest.scrub.spans import Bounds, Span, masked, settle

_ENDLESS: Final = re.compile(r"\S{200,}")
_SPELLED: Final = re.compile(r"(?:[^\W\d_][ -]){3,}[^\W\d_]")
INTRODUCED_SCORE: Final = 0.88  # of the rules for names that are introduced as such
TOGETHER: Final = 128  # texts read together, at most
LONGEST_TOGETHER: Final = 20_000  # characters of these, at most
LOOSE_ADDRESS: Final = 0.66  # a pattern of numbers and words alone: one of them must be no English word
MOST_PASSES: Final = 4  # of the net; two are usual
NOBODY_ASKED: Final[frozenset[str]] = frozenset()


def _parts(texts: Sequence[str]) -> Iterator[slice]:
    """Yield texts to read together: enough to be quick, few enough that a customer's message need not wait for long."""
    start = length = 0
    for i, text in enumerate(texts):
        if i > start and (i - start >= TOGETHER or length + len(text) > LONGEST_TOGETHER):
            yield slice(start, i)
            start, length = i, 0
        length += len(text)
    if start < len(texts):
        yield slice(start, len(texts))


class Analyzer:
    """Finds personal data. Thread-safe: one call at a time, as spaCy's vocabulary is shared."""

    def __init__(self, order_id_patterns: Sequence[str] = ()) -> None:
        self._lock = threading.Lock()
        self._presidio = Presidio((*RULES, *own_order_rules(checked(order_id_patterns))))
        index = self._presidio.lookups.get_table("lemma_index")
        words = frozenset(word for part in ("verb", "adj", "adv") for word in index[part])
        irregular = self._presidio.lookups.get_table("lemma_exc")
        written = self._presidio.nlp.vocab.strings  # of the large model's corpus
        self._lexicon = Lexicon(words, frozenset(index["noun"]), frozenset(irregular["verb"]), written)
        self._models = NameModels(self._presidio, self._lexicon)
        self.find(["warm up: order ORD-2024-00123 for jo@shop.example, says Tomasz"])

    def find(
        self,
        texts: Sequence[str],
        kinds: Sequence[frozenset[str]] = (),
        protected: Sequence[Sequence[Bounds]] = (),
    ) -> list[list[Span]]:
        """Return disjoint spans of each text, in order.

        `kinds` are the types of data that each may be the answer to; `protected` spans are left alone.
        """
        wanted = kinds or [NOBODY_ASKED] * len(texts)
        spared = protected or [()] * len(texts)
        found: list[list[Span]] = []
        for part in _parts(texts):
            with self._lock, self._presidio.nlp.memory_zone():  # spaCy forgets the words of a text when the zone ends
                found += self._read(texts[part], wanted[part], spared[part])
        return found

    def is_word(self, word: str) -> bool:
        """Return whether it is an ordinary English word, which a name found elsewhere must not drag along."""
        return self._lexicon.ordinary(word) and not self._lexicon.only_first(word)

    def _read(
        self, texts: Sequence[str], kinds: Sequence[frozenset[str]], protected: Sequence[Sequence[Bounds]]
    ) -> list[list[Span]]:
        """Return what rules and lists find, and what models find beside that."""
        calm = [_calm(text) for text in texts]
        sure = [
            _settled(text, self._by_rules(text, self._presidio.find(each), asks), spared)
            for text, each, asks, spared in zip(texts, calm, kinds, protected, strict=True)
        ]
        plain_texts = [
            model_text(text, spans, placeholder_spans(text), self._models.choose)
            for text, spans in zip(calm, sure, strict=True)
        ]
        guessed = self._models.find(plain_texts)
        return [
            self._joined(text, spans, [span for each in guess if (span := seen.raw(each))], spared)
            for text, spans, seen, guess, spared in zip(texts, sure, plain_texts, guessed, protected, strict=True)
        ]

    def _by_rules(self, text: str, spans: Sequence[Span], asks: frozenset[str]) -> list[Span]:
        every = list(self._sifted(text, spans))
        every += finder.listed(text, self._lexicon)
        every += finder.introduced(text, self._lexicon)
        every += answers.given(text, asks, self._lexicon)
        every += answers.within(text, self._lexicon)
        return self._whole(text, every)

    def _joined(self, text: str, sure: list[Span], guessed: Sequence[Span], protected: Sequence[Bounds]) -> list[Span]:
        if not guessed:
            return sure
        return _settled(text, self._whole(text, [*sure, *guessed]), protected)

    def _whole(self, text: str, spans: Sequence[Span]) -> list[Span]:
        every = [
            finder.with_initials(text, finder.hyphenated(text, span)) if span.kind == "PERSON" else span
            for span in spans
        ]
        return addresses.completed(text, every, self._lexicon)

    def _sifted(self, text: str, spans: Sequence[Span]) -> Iterator[Span]:
        for span in spans:
            if span.kind != "PERSON":
                if span.kind != "ADDRESS" or span.score > LOOSE_ADDRESS or self._strange(text, span):
                    yield span
                continue
            bounds = finder.trimmed(text, span.start, span.end, self._lexicon)
            if span.score >= INTRODUCED_SCORE and self._is_name(text[span.start : span.end]):
                bounds = span.start, span.end  # 'my name is grace', 'my name is farida walling'
            elif _SPELLED.fullmatch(text, span.start, span.end):
                bounds = span.start, span.end
            if bounds:
                yield Span(*bounds, "PERSON", span.score)

    def _is_name(self, name: str) -> bool:
        """Return whether all of what was introduced as somebody's name is one."""
        first, *others = name.split()
        if plain(first) in NAMES_WHERE_EXPECTED or self._lexicon.first(first):
            return all(map(self._lexicon.last, others))
        return bool(others) and not self._lexicon.english(first) and all(map(self._lexicon.last, others))

    def _strange(self, text: str, span: Span) -> bool:
        return any(not self._lexicon.english(m.group()) for m in WORD.finditer(text, span.start, span.end))


def _settled(text: str, found: Sequence[Span], protected: Sequence[Bounds]) -> list[Span]:
    """Return disjoint spans, with what the safety net finds beside them."""
    spans = settle(text, [*found, *net.addresses(text)], protected)
    for _ in range(MOST_PASSES):
        more = net.find(masked(text, [*protected, *((s.start, s.end) for s in spans)]))
        if not more:
            break
        spans = settle(text, [*spans, *more], protected)
    return spans


def _calm(text: str) -> str:
    """Return the text at the same length, its endless words broken up: spaCy's time grows with their length squared."""
    return _ENDLESS.sub(lambda match: "".join(c if c.isalnum() else " " for c in match.group()), text)
