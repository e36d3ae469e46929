"""Which model reads a text, and what of its guesses is believed."""

from __future__ import annotations

import pytest

from ingest.scrub.analyzer import Analyzer
from ingest.scrub.reading import Readers
from ingest.scrub.spans import Span
from ingest.scrub.standin import Reader, shown


@pytest.fixture(scope="module")
def readers() -> Readers:
    return Analyzer()._readers


@pytest.mark.parametrize(
    ("text", "reader"),
    [
        ("where is my order? it will come in may", Reader.NOBODY),
        ("I bought a Samsung", Reader.NOBODY),
        ("Ich habe das Paket nicht", Reader.NOBODY),
        ("i gave it to zorvik", Reader.CHAT),
        ("Zorvik has it", Reader.CHAT),
        ("I gave it to zorvik. It is late", Reader.CHAT),
        ("it was Zorvik", Reader.LARGE),
        ("ZORVIK has it", Reader.LARGE),
        ("zorvik met Melikana", Reader.LARGE),
    ],
)
def test_who_reads(readers: Readers, text: str, reader: Reader) -> None:
    assert readers.reader(text) is reader


def test_what_was_read_lately_is_remembered(readers: Readers, monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown("i was helped by zorvik", [], [], readers.reader)
    (found,) = readers.find([text])
    assert found == [Span(16, 22, "PERSON", 0.61)]
    monkeypatch.setattr(readers, "_read", lambda texts: [] if not texts else pytest.fail("read again"))
    assert readers.find([text]) == [found]
