"""Replaces personal data in a conversation by typed placeholders, or refuses (`ScrubbingFailed`).

Each message goes through: normalising, escaping of literal placeholders, recognizers, the safety net, values known
from earlier messages, replacement, and the safety net again over the outcome. Knows nothing of requests or storage;
keeps offsets (never text) of recent detections under a hash with a key of this process.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from ingest.scrub import names, net
from ingest.scrub.carry import Carrier
from ingest.scrub.normalise import normalise
from ingest.scrub.placeholders import PLACEHOLDER, Numbering, Vault, escape, stretches
from ingest.scrub.spans import Span, masked, settle
from shoptalk.domain import Message
from shoptalk.errors import ScrubbingFailed

T = TypeVar("T")
VERSION: Final = "presidio-1"
LONGEST_TEXT: Final = 32_000
REMEMBERED: Final = 4096
MOST_PASSES: Final = 4  # of the net; two are the rule


class Finder(Protocol):
    """What `ingest.scrub.analyzer.Analyzer` is to the scrubber."""

    def find(self, text: str, *, name_asked: bool = False) -> list[Span]: ...

    def is_word(self, word: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """A scrubbed conversation, as `shoptalk.ports.Scrubbed` describes it."""

    texts: tuple[str, ...]
    final: tuple[str, ...]
    counts: tuple[Mapping[str, int], ...]
    vault: Vault


@dataclass(frozen=True, slots=True)
class _Prepared:
    text: str
    protected: list[tuple[int, int]]
    spans: list[Span]
    literals: frozenset[str] = frozenset()  # escaped placeholders that somebody typed
    ours: bool = False  # said by the shop's side, which repeats values that were filled in


class PresidioScrubber:
    """Satisfies `shoptalk.ports.Scrubber`. Deterministic and thread-safe."""

    version: Final[str] = VERSION

    def __init__(self, finder: Finder) -> None:
        self._finder = finder
        self._key = secrets.token_bytes(32)
        self._recent: OrderedDict[bytes, tuple[Span, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def scrub(self, messages: Sequence[Message]) -> Scrubbed:
        """Raises `ScrubbingFailed` rather than let a text through that was not fully scanned."""
        return _guarded(lambda: self._scrub(messages))

    def scrub_correction(self, history: Sequence[str], text: str) -> tuple[str, Mapping[str, int]]:
        """Scrub what an annotator wrote about a conversation that is scrubbed already.

        Placeholders in `history` are trusted; well-formed ones in `text` are kept as they are. What is raw gets
        placeholders numbered after the highest in both.
        """
        return _guarded(lambda: self._correct(history, text))

    def remaining(self, text: str) -> Mapping[str, int]:
        """What the safety net still finds in scrubbed text, by type; empty is good."""
        return _guarded(lambda: Counter(span.kind for span in _left(text)))

    def _scrub(self, messages: Sequence[Message]) -> Scrubbed:
        numbering, carrier = Numbering(), Carrier(self._finder.is_word)
        prepared: list[_Prepared] = []
        texts: list[str] = []
        counts: list[Mapping[str, int]] = []
        asked = False
        for message in messages:
            ours = message.role == "assistant"
            item = self._prepare(message.content, name_asked=asked and message.role == "user", ours=ours)
            asked = ours and names.asks_for_name(item.text)
            carrier.learn(item.text, item.spans)
            done, found = _replaced(item, carrier, numbering)
            prepared.append(item)
            texts.append(done)
            counts.append(found)
        final = [_replaced(item, carrier, numbering)[0] for item in prepared]
        literals = frozenset().union(*(item.literals for item in prepared))
        return Scrubbed(tuple(texts), tuple(final), tuple(counts), Vault(numbering.values, literals))

    def _correct(self, history: Sequence[str], text: str) -> tuple[str, Mapping[str, int]]:
        _check_length(text)
        plain = normalise(text)
        protected = stretches(plain)
        spans = self._detected(plain, protected, name_asked=False)
        item = _Prepared(plain, protected, spans)
        carrier = Carrier(self._finder.is_word)
        carrier.learn(plain, spans)
        return _replaced(item, carrier, Numbering([*history, plain]))

    def _prepare(self, raw: str, *, name_asked: bool, ours: bool) -> _Prepared:
        _check_length(raw)
        plain = normalise(raw)
        text = escape(plain)
        protected = stretches(text, escaped_only=True)
        literals = frozenset(escape(match.group()) for match in PLACEHOLDER.finditer(plain))
        return _Prepared(text, protected, self._detected(text, protected, name_asked=name_asked), literals, ours)

    def _detected(self, text: str, protected: list[tuple[int, int]], *, name_asked: bool) -> list[Span]:
        if not text or text.isspace():
            return []
        data = b"%d%s" % (name_asked, text.encode("utf-8", "surrogatepass"))
        key = hashlib.blake2b(data, key=self._key, digest_size=16).digest()
        with self._lock:
            known = self._recent.get(key)
            if known is not None:
                self._recent.move_to_end(key)
                return list(known)
        spans = settle(text, [*self._finder.find(text, name_asked=name_asked), *net.addresses(text)], protected)
        for _ in range(MOST_PASSES):
            more = net.find(masked(text, [*protected, *((s.start, s.end) for s in spans)]))
            if not more:
                break
            spans = settle(text, [*spans, *more], protected)
        with self._lock:
            self._recent[key] = tuple(spans)
            while len(self._recent) > REMEMBERED:
                self._recent.popitem(last=False)
        return spans


def _replaced(item: _Prepared, carrier: Carrier, numbering: Numbering) -> tuple[str, Mapping[str, int]]:
    taken = [*item.protected, *((s.start, s.end) for s in item.spans)]
    carried = carrier.find(masked(item.text, taken), short=item.ours)
    spans = sorted([*item.spans, *carried], key=lambda s: s.start)
    parts: list[str] = []
    counts: Counter[str] = Counter()
    at = 0
    for span in spans:
        parts += [item.text[at : span.start], numbering.placeholder(span.kind, item.text[span.start : span.end])]
        counts[span.kind] += 1
        at = span.end
    parts.append(item.text[at:])
    outcome = "".join(parts)
    if left := _left(outcome):
        raise ScrubbingFailed(f"after scrubbing there was still a value of type {left[0].kind}")
    return outcome, dict(counts)


def _left(text: str) -> list[Span]:
    plain = normalise(text)
    return net.find(masked(plain, stretches(plain)))


def _check_length(text: str) -> None:
    if len(text) > LONGEST_TEXT:
        raise ScrubbingFailed(f"the text is longer than {LONGEST_TEXT} characters")


def _guarded(work: Callable[[], T]) -> T:
    """Whatever goes wrong becomes `ScrubbingFailed`; the cause is named, not chained, as it may quote the text."""
    try:
        return work()
    except ScrubbingFailed:
        raise
    except Exception as error:  # noqa: BLE001 - anything unscanned must fail closed
        raise ScrubbingFailed(f"the scanner failed with {type(error).__name__}") from None
