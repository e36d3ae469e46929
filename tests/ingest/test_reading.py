"""Which model reads a text, and what of its guesses is believed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ingest.scrub.analyzer import Analyzer
from ingest.scrub.ner.reading import NameModels
from ingest.scrub.ner.standin import ModelChoice, ModelText, model_text
from ingest.scrub.scrubber import PresidioScrubber
from ingest.scrub.spans import Span
from shoptalk.domain import Message


@pytest.fixture(scope="module")
def models() -> NameModels:
    return Analyzer()._models


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("where is my order? it will come in may", ModelChoice.NONE),
        ("I bought a Samsung", ModelChoice.NONE),
        ("Ich habe das Paket nicht", ModelChoice.NONE),
        ("i gave it to zorvik", ModelChoice.CHAT),
        ("Zorvik has it", ModelChoice.CHAT),
        ("I gave it to zorvik. It is late", ModelChoice.CHAT),
        ("it was Zorvik", ModelChoice.LARGE),
        ("ZORVIK has it", ModelChoice.LARGE),
        ("zorvik met Melikana", ModelChoice.LARGE),
    ],
)
def test_which_model_reads(models: NameModels, text: str, choice: ModelChoice) -> None:
    assert models.choose(text) is choice


class Counting(NameModels):
    """Counts the texts that a model is asked about."""

    asked = 0

    def _read(self, texts: Sequence[ModelText]) -> list[list[Span]]:
        self.asked += len(texts)
        return super()._read(texts)


def test_a_scrubbed_text_needs_no_second_reading(models: NameModels) -> None:
    counting = Counting(models._presidio, models._lexicon)
    raw = model_text("torvik was helped by zorvik", [Span(0, 6, "PERSON")], [], counting.choose)
    (found,) = counting.find([raw])
    assert [raw.raw(span) for span in found if raw.raw(span)] == [Span(21, 27, "PERSON", 0.61)]
    scrubbed = model_text("<PERSON_1> was helped by zorvik", [], [(0, 10)], counting.choose)
    assert counting.find([scrubbed, raw]) == [found, found]
    assert counting.asked == 1


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("as a customer-service assistant i can help", True),
        ("is it two-day or same-day", True),
        ("the pre-order is half-price", True),
        ("thanks mary-jane for the parcel", False),
        ("i spoke to hart-dyke about it", False),
    ],
)
def test_ordinary_words_with_hyphens_are_no_names(text: str, kept: bool) -> None:
    scrubbed = PresidioScrubber(Analyzer()).scrub([Message("user", text)]).texts[0]
    assert ("<PERSON_1>" not in scrubbed) is kept
