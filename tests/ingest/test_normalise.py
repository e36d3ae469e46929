"""Where each character of a normalised text comes from."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest.scrub.normalise import aligned, normalise

HARD = st.text(
    st.sampled_from(
        "ae\u0301\u0323\u200b\u200d\u1100\u1161\u11a8\u0e33\u09c7\u09be1①½ﬁ１\U0001d7d9\ud800🙂\ufe0f\n\x00-"
    )
)


@given(st.one_of(st.text(), HARD))
@example("e\u200b\u0301")
@example("\u0344\u0301a")
@example("12\u0301\u03263")
def test_alignment_is_of_the_normalised_text(text: str) -> None:
    plain, places = aligned(text)
    assert plain == normalise(text)
    assert len(places) == len(plain)
    assert all(0 <= start < end <= len(text) for start, end in places)
    assert [start for start, _ in places] == sorted(start for start, _ in places)
    assert [end for _, end in places] == sorted(end for _, end in places)


@given(st.one_of(st.text(), HARD))
@example("ü\u200d\u200d")
@example("ü\u200d\u200b5")
@example("ü\u200d５")
def test_normalising_again_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@pytest.mark.parametrize(
    ("text", "part", "stands"),
    [
        ("call 0\u200b7\u200b7 now", "077", "0\u200b7\u200b7"),
        ("from Zoe\u0308 Li", "Zoë", "Zoe\u0308"),
        ("it is １２３", "123", "１２３"),
        ("⑩ of them", "10", "⑩"),
        ("plain", "lai", "lai"),
    ],
)
def test_a_place_leads_back(text: str, part: str, stands: str) -> None:
    plain, places = aligned(text)
    at = plain.index(part)
    assert text[places[at][0] : places[at + len(part) - 1][1]] == stands
    assert unicodedata.is_normalized("NFC", plain)
