"""Which model reads a text, and what of its guesses is believed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ingest.scrub.analyzer import Analyzer
from ingest.scrub.ner.reading import Readers
from ingest.scrub.ner.standin import Reader, Shown, shown
from ingest.scrub.spans import Span


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


class Counting(Readers):
    """Counts the texts that a model is asked about."""

    asked = 0

    def _read(self, texts: Sequence[Shown]) -> list[list[Span]]:
        self.asked += len(texts)
        return super()._read(texts)


def test_a_scrubbed_text_needs_no_second_reading(readers: Readers) -> None:
    counting = Counting(readers._presidio, readers._lexicon)
    raw = shown("torvik was helped by zorvik", [Span(0, 6, "PERSON")], [], counting.reader)
    (found,) = counting.find([raw])
    assert [raw.raw(span) for span in found if raw.raw(span)] == [Span(21, 27, "PERSON", 0.61)]
    scrubbed = shown("<PERSON_1> was helped by zorvik", [], [(0, 10)], counting.reader)
    assert counting.find([scrubbed, raw]) == [found, found]
    assert counting.asked == 1
