"""Numbering, filling, and that a stream in any pieces is filled like the whole."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.scrub.placeholders import LONGEST, Numbering, Vault, escape, plain_words
from shoptalk import placeholders
from shoptalk.errors import ScrubbingFailed
from shoptalk.placeholders import PLACEHOLDER

VAULT = Vault({"<PERSON_1>": "Jo <ORDER_ID_1>", "<ORDER_ID_1>": "AB-1"}, frozenset({"‹PERSON_1›"}))
PIECES = st.lists(
    st.sampled_from(
        ["<PERSON_1>", "<ORDER_ID_1>", "<ORDER_ID_2>", "‹PERSON_1›", "‹PERSON_2›", "<", ">", "‹", "›", "_", "1",
         "99999", "PERSON",
         "<PER", "SON_1>", " a b ", "<<", "é😀", "<PERSON_1", "A" * 40]
    )
    | st.text(max_size=5),
    max_size=12,
)  # fmt: skip


@given(PIECES, st.lists(st.integers(0, 200), max_size=30))
def test_a_stream_is_filled_like_the_whole(parts: list[str], cuts: list[int]) -> None:
    text = "".join(parts)
    places = sorted({0, len(text), *(min(c, len(text)) for c in cuts)})
    filler = VAULT.filler()
    out = [filler.feed(text[a:b]) for a, b in pairwise(places)]
    out.append(filler.flush())
    assert "".join(out) == VAULT.fill(text)


@given(PIECES)
def test_little_is_held_back(parts: list[str]) -> None:
    filler, fed, shown = Vault({}).filler(), 0, 0
    for part in parts:
        if PLACEHOLDER.search("".join(parts)):
            return
        fed += len(part)
        shown += len(filler.feed(part))
        assert fed - shown <= LONGEST


def test_a_single_character_at_a_time() -> None:
    filler = VAULT.filler()
    assert "".join([*map(filler.feed, "Hi <PERSON_1>, <ORDER_ID_7> a<b <PERS"), filler.flush()]) == (
        "Hi Jo <ORDER_ID_1>, your order number a<b <PERS"
    )


def test_values_keep_their_placeholder() -> None:
    numbering = Numbering()
    assert numbering.placeholder("PHONE_NUMBER", "98765 43210") == "<PHONE_NUMBER_1>"
    assert numbering.placeholder("NUMBER", "9876543210") == "<PHONE_NUMBER_1>"
    assert numbering.placeholder("PERSON", "Jo") == "<PERSON_1>"
    assert numbering.placeholder("PERSON", "JO") == "<PERSON_1>"
    assert numbering.placeholder("PERSON", "Al") == "<PERSON_2>"


def test_numbers_start_after_trusted_ones() -> None:
    assert Numbering(["hi <PERSON_3> <ORDER_ID_1>"]).placeholder("PERSON", "Jo") == "<PERSON_4>"


def test_numbers_end_somewhere() -> None:
    numbering = Numbering(["<PERSON_9999>"])
    with pytest.raises(ScrubbingFailed):
        numbering.placeholder("PERSON", "Jo")


def test_literals_are_escaped_and_shown_as_typed() -> None:
    assert escape("<PERSON_1> <b> <person_1> <ORDER_12345>") == "‹PERSON_1› <b> <person_1> <ORDER_12345>"
    assert VAULT.fill("‹PERSON_1› ‹PERSON_2›") == "<PERSON_1> ‹PERSON_2›"


def test_invented_ones_become_their_plain_type() -> None:
    assert VAULT.fill("<EMAIL_ADDRESS_3> or <SHOE_SIZE_1>") == "your e-mail address or your shoe size"
    assert plain_words("PERSON") == "your name"


def test_what_other_stages_see_of_a_text() -> None:
    text = "<ORDER_ID_1> or ‹PERSON_2›, <order_1> and <ORDER_ID_123456>"
    assert placeholders.found_in(text) == ["<ORDER_ID_1>", "<ORDER_ID_123456>"]
    assert placeholders.without_numbers(text) == "ORDER_ID or PERSON, <order_1> and ORDER_ID"
    assert placeholders.without_placeholders(text) == "  or  , <order_1> and  "


def test_values_do_not_show_when_printed() -> None:
    assert "AB-1" not in repr(VAULT)
