"""What was found lately is remembered, bounded, and no text with it."""

from __future__ import annotations

from ingest.scrub.ner.memory import Memory
from ingest.scrub.spans import Span

FOUND = (Span(0, 4, "PERSON"),)


def test_remembers_what_was_used_last() -> None:
    memory = Memory(most=2)
    one, two, three = (memory.key(text) for text in ("Zorla", "Torvik", "Melika"))
    memory.keep({one: FOUND, two: ()})
    assert memory.recall([one]) == {one: FOUND}
    memory.keep({three: ()})
    assert memory.recall([one, two, three]) == {one: FOUND, three: ()}


def test_keys_are_of_this_memory_and_of_all_parts() -> None:
    memory = Memory()
    assert memory.key("a", "b") == memory.key("a", "b")
    assert len({memory.key("a", "b"), memory.key("ab"), memory.key("b", "a"), Memory().key("a", "b")}) == 4
    assert memory.key("\ud800") != memory.key("\ud801")


def test_holds_no_text() -> None:
    memory = Memory()
    memory.keep({memory.key("Zorla"): FOUND})
    assert "Zorla" not in repr(vars(memory))
