"""What scrubbing keeps to, whatever it is given: it settles, keeps turns, and leaves what is not personal alone."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.scrub.normalise import normalise
from ingest.scrub.scrubbed import Scrubbed
from ingest.scrub.scrubber import PresidioScrubber
from shoptalk.domain import Message, Role

ATTACKS = Path(__file__).parents[3] / "shared" / "data" / "attacks.jsonl.gz"
PLACEHOLDER = re.compile(r"<[A-Z_]+_\d+>")
ROLES = st.sampled_from(["user", "assistant", "system"])
ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=60)
VALUES = ("jo@shop.example", "555-0199-22", "4111 1111 1111 1111", "#12345", "wanjiru", "12 Baker Street", "4417")
WORDS = ("my", "name", "is", "order", "where", "it", "the", "email", "to", "ship", "?", ".", ",", "and", "please", "\n")
PIECES = ("<PERSON_1>", "‹PERSON_1›", "<", "_1>", "Zoë Ångström", "jo smith", "ü", *"\u0338\u0301\u200d\u200cकि")
GLUED_TEXT = st.lists(st.one_of(st.sampled_from([*VALUES, *PIECES]), st.characters(codec=None, exclude_categories=())))
ODD_TEXT = st.tuples(GLUED_TEXT, st.sampled_from(["", " "])).map(lambda each: each[1].join(each[0][:10]))
SHOP_TEXT = st.lists(st.sampled_from([*VALUES, *WORDS]), max_size=12).map(" ".join)
PLAIN = (
    "please refund the order",
    "it is late again",
    "do you ship to Canada?",
    "I paid $49.99 for 2 of them",
    "thanks",
)
PLAIN_TEXT = st.lists(st.sampled_from([*PLAIN, "ＯＫ", "cafe\u0301", "٣ days", "wait\u200bing"]), min_size=1).map(
    ". ".join
)
FEW = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def conversations(texts: st.SearchStrategy[str]) -> st.SearchStrategy[list[tuple[Role, str]]]:
    return st.lists(st.tuples(ROLES, texts), max_size=6)  # type: ignore[arg-type]


def scrubbed(scrubber: PresidioScrubber, turns: list[tuple[Role, str]], *, trusted: bool = False) -> Scrubbed:
    (made,) = scrubber.scrub_many([[Message(role, text) for role, text in turns]], trusted=trusted)
    assert isinstance(made, Scrubbed)
    return made


@FEW
@given(turns=conversations(st.one_of(ANY_TEXT, SHOP_TEXT)))
def test_turns_stay(scrubber: PresidioScrubber, turns: list[tuple[Role, str]]) -> None:
    made = scrubbed(scrubber, turns)
    assert len(made.texts) == len(made.final) == len(made.counts) == len(turns)


@FEW
@given(turns=conversations(st.one_of(SHOP_TEXT, ODD_TEXT)))
def test_scrubbing_again_changes_nothing(scrubber: PresidioScrubber, turns: list[tuple[Role, str]]) -> None:
    once = scrubbed(scrubber, turns, trusted=True)
    again = scrubbed(scrubber, [(role, text) for (role, _), text in zip(turns, once.final, strict=True)], trusted=True)
    assert again.final == once.final
    assert not any(again.counts)


@FEW
@given(turns=conversations(SHOP_TEXT))
def test_what_was_taken_is_all_that_changed(scrubber: PresidioScrubber, turns: list[tuple[Role, str]]) -> None:
    made = scrubbed(scrubber, turns)
    for (_, text), final in zip(turns, made.final, strict=True):
        assert made.vault.fill(final).casefold() == normalise(text).casefold()


@FEW
@given(text=PLAIN_TEXT)
def test_text_without_personal_data_is_only_normalised(scrubber: PresidioScrubber, text: str) -> None:
    assert scrubbed(scrubber, [("user", text)]).final == (normalise(text),)


@FEW
@given(texts=st.lists(conversations(SHOP_TEXT), min_size=2, max_size=4))
def test_read_together_or_one_by_one_is_the_same(
    scrubber: PresidioScrubber, texts: list[list[tuple[Role, str]]]
) -> None:
    messages = [[Message(role, text) for role, text in turns] for turns in texts]
    together = scrubber.scrub_many(messages)
    assert [each.final for each in together] == [scrubber.scrub(each).final for each in messages]  # type: ignore[union-attr]


@pytest.mark.slow
@pytest.mark.skipif(not ATTACKS.exists(), reason="the shared data folder is not here")
def test_no_attack_breaks_it(scrubber: PresidioScrubber) -> None:
    with gzip.open(ATTACKS, "rt", encoding="utf-8") as lines:
        messages = [[Message("user", json.loads(line)["text"])] for line in lines]
    assert len(messages) > 1000
    for made in scrubber.scrub_many(messages):
        assert isinstance(made, Scrubbed)
        assert not scrubber.remaining(made.final[0])
