"""Only what is used of spaCy is loaded: every process waits for that when it starts."""

from __future__ import annotations

import sys

import pytest

from ingest.scrub.ner.reading import LANGUAGES
from ingest.scrub.presidio import lean
from ingest.scrub.scrubber import PresidioScrubber


def test_stop_words_come_without_their_language(scrubber: PresidioScrubber) -> None:
    assert "ich" in lean.stop_words("de")
    assert {"nous", "vous"} <= lean.stop_words("fr")
    assert not [name for name in sys.modules if name in {f"spacy.lang.{code}" for code in LANGUAGES}]


def test_a_language_that_spacy_does_not_have() -> None:
    with pytest.raises(FileNotFoundError, match="stop_words"):
        lean.stop_words("tlh")
