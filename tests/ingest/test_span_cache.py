"""Recent finds are remembered, a bounded number of them, and no text with them."""

from __future__ import annotations

from ingest.scrub.ner.span_cache import SpanCache
from ingest.scrub.spans import Span

FOUND = (Span(0, 4, "PERSON"),)


def test_remembers_what_was_used_last() -> None:
    cache = SpanCache(most=2)
    one, two, three = (cache.key(text) for text in ("Zorla", "Torvik", "Melika"))
    cache.keep({one: FOUND, two: ()})
    assert cache.recall([one]) == {one: FOUND}
    cache.keep({three: ()})
    assert cache.recall([one, two, three]) == {one: FOUND, three: ()}


def test_keys_are_of_this_memory_and_of_all_parts() -> None:
    cache = SpanCache()
    assert cache.key("a", "b") == cache.key("a", "b")
    assert len({cache.key("a", "b"), cache.key("ab"), cache.key("b", "a"), SpanCache().key("a", "b")}) == 4
    assert cache.key("\ud800") != cache.key("\ud801")


def test_holds_no_text() -> None:
    cache = SpanCache()
    cache.keep({cache.key("Zorla"): FOUND})
    assert "Zorla" not in repr(vars(cache))
