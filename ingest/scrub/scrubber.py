"""Replaces personal data in a conversation by typed placeholders, or refuses (`ScrubbingFailed`).

Each message goes through these steps: normalising, escaping of literal placeholders, rules, the safety net, models,
values known from earlier messages, replacement, and the safety net again over the result. Knows nothing of requests or
storage; remembers the spans (never the text) of recent detections under a hash with a key of this process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol, TypeVar

from ingest.scrub.context.asked import OpenQuestions
from ingest.scrub.context.carry import Carrier
from ingest.scrub.context.record import DenyList
from ingest.scrub.ner.span_cache import SpanCache
from ingest.scrub.normalise import aligned, normalise
from ingest.scrub.placeholders import Numbering, Vault, escape, placeholder_spans
from ingest.scrub.rules import net
from ingest.scrub.scrubbed import Scrubbed
from ingest.scrub.spans import Bounds, Span, closed, masked, settle
from shoptalk.domain import Message
from shoptalk.errors import ScrubbingFailed
from shoptalk.events import LONGEST_SCRUBBED
from shoptalk.placeholders import PLACEHOLDER
from shoptalk.ports import CustomerRecord

T = TypeVar("T")
VERSION: Final = "presidio-4"
NO_RECORD: Final[CustomerRecord] = {}
LONGEST_TEXT: Final = 32_000  # characters; a trusted placeholder counts as one, so that no result is too long
MOST_SCRUBBINGS: Final = 6  # of one conversation; one or two are usual


class Finder(Protocol):
    """Finds personal data in texts, as `ingest.scrub.analyzer.Analyzer` does."""

    def find(
        self,
        texts: Sequence[str],
        kinds: Sequence[frozenset[str]] = (),
        protected: Sequence[Sequence[Bounds]] = (),
    ) -> list[list[Span]]:
        """Return disjoint spans of each text, in order."""
        ...

    def is_word(self, word: str) -> bool:
        """Return whether it is an ordinary English word."""
        ...


@dataclass(frozen=True, slots=True)
class _Prepared:
    """One normalised message."""

    text: str
    protected: list[Bounds]
    #: kinds of data that it may be the answer to
    asks: frozenset[str] = frozenset()
    #: escaped placeholders that somebody typed
    literals: frozenset[str] = frozenset()
    #: whether the shop's side says it, which repeats values that were filled in
    ours: bool = False
    #: whether its placeholders are the scrubber's own
    trusted: bool = False


class PresidioScrubber:
    """Satisfies `shoptalk.ports.Scrubber`. Deterministic and thread-safe."""

    version: Final[str] = VERSION

    def __init__(self, finder: Finder) -> None:
        self._finder = finder
        self._cache = SpanCache()

    def scrub(self, messages: Sequence[Message], record: CustomerRecord = NO_RECORD) -> Scrubbed:
        """Scrub a conversation, or raise `ScrubbingFailed` rather than let a text through that was not fully scanned.

        `record` is what the shop knows of the customer, by the names in `ingest.scrub.context.record.KINDS`.
        """
        return _guarded(lambda: self._scrub(self._prepared(messages, trusted=False), record))

    def scrub_many(
        self,
        conversations: Sequence[Sequence[Message]],
        records: Sequence[CustomerRecord] = (),
        *,
        trusted: bool = False,
    ) -> list[Scrubbed | ScrubbingFailed]:
        """Scrub several conversations in less time than one by one: their texts are read together.

        Well-formed placeholders are kept where they are `trusted`, and new ones numbered after them; then the result
        is scrubbed too until nothing more is found, so that what was scrubbed before comes out as it went in.
        Otherwise they are taken for something that somebody typed.
        """
        made = self._scrub_each(conversations, records, trusted=trusted)
        if trusted:
            self._until_settled(conversations, records, made)
        return made

    def _scrub_each(
        self, conversations: Sequence[Sequence[Message]], records: Sequence[CustomerRecord], *, trusted: bool
    ) -> list[Scrubbed | ScrubbingFailed]:
        prepared = [_outcome(partial(self._prepared, messages, trusted)) for messages in conversations]
        if len(conversations) > 1:
            read = [item for each in prepared if not isinstance(each, ScrubbingFailed) for item in each]
            _outcome(partial(self._detect, read))  # what fails here fails again below, by itself
        return [
            each if isinstance(each, ScrubbingFailed) else _outcome(partial(self._scrub, each, record))
            for each, record in zip(prepared, records or [NO_RECORD] * len(conversations), strict=True)
        ]

    def _until_settled(
        self,
        conversations: Sequence[Sequence[Message]],
        records: Sequence[CustomerRecord],
        made: list[Scrubbed | ScrubbingFailed],
    ) -> None:
        """Scrub the results until nothing is found: without the others' names a model reads a text differently."""
        unsettled = list(range(len(made)))
        for _ in range(MOST_SCRUBBINGS - 1):
            unsettled = [i for i in unsettled if isinstance(each := made[i], Scrubbed) and any(each.counts)]
            former = {i: each for i in unsettled if isinstance(each := made[i], Scrubbed)}
            messages = [
                [Message(said.role, text) for said, text in zip(conversations[i], each.final, strict=True)]
                for i, each in former.items()
            ]
            again = self._scrub_each(messages, [records[i] for i in unsettled] if records else (), trusted=True)
            unsettled = []
            for (i, each), then in zip(former.items(), again, strict=True):
                if isinstance(then, ScrubbingFailed):
                    made[i] = then
                elif any(then.counts):
                    made[i] = _together(each, then)
                    unsettled.append(i)
            if not unsettled:
                return

    def scrub_correction(self, history: Sequence[str], text: str) -> tuple[str, Mapping[str, int]]:
        """Scrub what somebody wrote about a conversation that is scrubbed already; also return the number removed.

        Placeholders in `history` are trusted; well-formed ones in `text` are kept as they are. What is raw gets
        placeholders numbered after the highest in both.
        """
        return _guarded(lambda: self._correct(history, text))

    def remaining(self, *texts: str) -> Mapping[str, int]:
        """Return how many values the safety net still finds in scrubbed texts, by type; empty is good."""
        return _guarded(lambda: Counter(span.kind for text in texts for span in _left(text)))

    def _prepared(self, messages: Sequence[Message], trusted: bool) -> list[_Prepared]:
        questions = OpenQuestions()
        return [_prepare(message, questions, trusted=trusted) for message in messages]

    def _scrub(self, prepared: Sequence[_Prepared], record: CustomerRecord) -> Scrubbed:
        numbering = Numbering(item.text for item in prepared if item.trusted)
        carrier = Carrier(self._finder.is_word)
        texts: list[str] = []
        counts: list[Mapping[str, int]] = []
        detected = self._detect(prepared)
        if record:
            deny = DenyList(record)
            detected = [
                settle(item.text, [*found, *deny.find(item.text)], item.protected)
                for item, found in zip(prepared, detected, strict=True)
            ]
        every: list[list[Span]] = []
        for item, found in zip(prepared, detected, strict=True):
            carrier.learn(item.text, found)
            spans = _spans(item, found, carrier)
            texts.append(_replaced(item, spans, numbering))
            counts.append(Counter(span.kind for span in spans))
            every.append(spans)
        final = list(texts)
        for i, (item, found) in enumerate(zip(prepared[:-1], detected[:-1], strict=True)):  # the last knew them all
            if (spans := _spans(item, found, carrier)) != every[i]:
                every[i] = spans
                final[i] = _replaced(item, spans, numbering)
        literals = frozenset().union(*(item.literals for item in prepared))
        vault = Vault(numbering.values, literals)
        return Scrubbed(tuple(texts), tuple(final), tuple(counts), vault, tuple(map(tuple, every)))

    def _correct(self, history: Sequence[str], text: str) -> tuple[str, Mapping[str, int]]:
        _check_length(text)
        plain = normalise(text)
        item = _Prepared(plain, placeholder_spans(plain))
        (spans,) = self._detect([item])
        carrier = Carrier(self._finder.is_word)
        carrier.learn(plain, spans)
        every = _spans(item, spans, carrier)
        counts = Counter(span.kind for span in every)
        return _replaced(item, every, Numbering([*history, plain])), counts

    def _detect(self, items: Sequence[_Prepared]) -> list[list[Span]]:
        """Return the spans found in each. Those of recent texts are remembered."""
        keys = [self._cache.key(*sorted(item.asks), repr(item.protected), item.text) for item in items]
        known = self._cache.recall(keys)
        fresh = {key: item for key, item in zip(keys, items, strict=True) if key not in known}
        full = {key: item for key, item in fresh.items() if item.text and not item.text.isspace()}
        read = list(full.values())
        found = self._finder.find([i.text for i in read], [i.asks for i in read], [i.protected for i in read])
        new = dict.fromkeys(fresh, ()) | {key: tuple(spans) for key, spans in zip(full, found, strict=True)}
        self._cache.keep(new)
        known |= new
        return [list(known[key]) for key in keys]


def _prepare(message: Message, questions: OpenQuestions, *, trusted: bool) -> _Prepared:
    _check_length(PLACEHOLDER.sub("<", message.content) if trusted else message.content)
    ours = message.role == "assistant"
    plain = normalise(message.content)
    text = plain if trusted else escape(plain)
    protected = placeholder_spans(text, escaped_only=not trusted)
    literals = frozenset[str]()
    if not trusted:
        literals = frozenset(escape(match.group()) for match in PLACEHOLDER.finditer(plain))
    asks = frozenset[str]() if message.role == "system" else questions.hear(text, ours=ours)
    return _Prepared(text, protected, asks, literals, ours, trusted)


def _together(first: Scrubbed, then: Scrubbed) -> Scrubbed:
    """Return a scrubbed conversation, with what scrubbing its result found."""
    counts = tuple(Counter(a) + Counter(b) for a, b in zip(first.counts, then.counts, strict=True))
    found = tuple(_before(*each) for each in zip(first.final, first.found, then.found, strict=True))
    return Scrubbed(then.texts, then.final, counts, first.vault.joined(then.vault), found)


def _before(final: str, found: Sequence[Span], later: Sequence[Span]) -> tuple[Span, ...]:
    """Return both as spans of the same text, in order.

    `later` are spans of `final`, which has a placeholder for each of `found`.
    """
    spans, past, longer = list(found), 0, 0
    for span in later:
        while past < len(found) and (start := found[past].start + longer) <= span.start:
            longer += final.index(">", start) + 1 - start - found[past].length
            past += 1
        spans.append(replace(span, start=span.start - longer, end=span.end - longer))
    return tuple(sorted(spans, key=lambda s: s.start))


def in_raw(raw: str, found: Sequence[Span]) -> list[Span]:
    """Return spans of a normalised text as spans of the text it was made of."""
    if not found:
        return []
    _, origins = aligned(raw)
    return [Span(origins[s.start][0], origins[s.end - 1][1], s.kind, s.score) for s in found]


def _spans(item: _Prepared, found: Sequence[Span], carrier: Carrier) -> list[Span]:
    """Return the spans to replace in a message, in order."""
    taken = [*item.protected, *((s.start, s.end) for s in found)]
    carried = carrier.find(masked(item.text, taken), short=item.ours)
    return closed(item.text, [*found, *carried])


def _replaced(item: _Prepared, spans: Sequence[Span], numbering: Numbering) -> str:
    """Return the text with placeholders. Raises ScrubbingFailed where the net still finds something in it."""
    parts: list[str] = []
    at = 0
    for span in spans:
        parts += [item.text[at : span.start], numbering.placeholder(span.kind, item.text[span.start : span.end])]
        at = span.end
    parts.append(item.text[at:])
    scrubbed = "".join(parts)
    if left := _left(scrubbed):
        raise ScrubbingFailed(f"after scrubbing there was still a value of type {left[0].kind}")
    if len(scrubbed) > LONGEST_SCRUBBED and not item.trusted:
        raise ScrubbingFailed(f"the scrubbed text is longer than {LONGEST_SCRUBBED} characters")
    return scrubbed


def _left(text: str) -> list[Span]:
    """Return what the net finds beside placeholders."""
    plain = normalise(text)
    return net.find(masked(plain, placeholder_spans(plain)))


def _check_length(text: str) -> None:
    if len(text) > LONGEST_TEXT:
        raise ScrubbingFailed(f"the text is longer than {LONGEST_TEXT} characters")


def _outcome(work: Callable[[], T]) -> T | ScrubbingFailed:
    """Do the work; return `ScrubbingFailed` where it raises."""
    try:
        return _guarded(work)
    except ScrubbingFailed as error:
        return error


def _guarded(work: Callable[[], T]) -> T:
    """Do the work; any error becomes `ScrubbingFailed`. The cause is named, not chained, as it may quote the text."""
    try:
        return work()
    except ScrubbingFailed:
        raise
    except Exception as error:  # noqa: BLE001 - anything unscanned must fail closed
        raise ScrubbingFailed(f"the scanner failed with {type(error).__name__}") from None
