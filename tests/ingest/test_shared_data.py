"""Real conversations, where they are at hand: what an independent set of patterns still finds."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

import pytest

from ingest.formats.files import FileConversation, read_conversations
from ingest.scrub.scrubber import PresidioScrubber
from shoptalk.domain import Message

FILE = Path(__file__).parents[3] / "shared" / "data" / "ecommerce-conversations.jsonl.gz"
LEFT = re.compile(r"[\w.+-]+@[\w-]+\.\w|\d{3}\D\d{5,7}\D\d{5,7}|(?:\+?\d[ .()-]{0,2}){9,}\d|(?:\d[ -]?){13,}|\d{5}")


@pytest.mark.slow
@pytest.mark.skipif(not FILE.exists(), reason="the shared data folder is not here")
def test_nothing_is_left_in_real_conversations(scrubber: PresidioScrubber) -> None:
    words = redacted = 0
    for item in islice(read_conversations(FILE), 60):
        assert isinstance(item, FileConversation)
        scrubbed = scrubber.scrub([Message(turn.role, turn.text) for turn in item.turns])
        words += sum(len(turn.text.split()) for turn in item.turns)
        redacted += sum(sum(c.values()) for c in scrubbed.counts)
        for text in scrubbed.final:
            assert not LEFT.search(re.sub(r"[<‹][A-Z_]+_\d+[>›]", "|", text))
    assert redacted < 0.03 * words
