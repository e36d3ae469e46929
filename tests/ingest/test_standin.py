"""What a model is shown for found values and for their placeholders, and the way back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingest.scrub.ner.standin import ModelChoice, ModelText, model_text
from ingest.scrub.placeholders import placeholder_spans
from ingest.scrub.spans import Span


def of(text: str, *found: tuple[str, str]) -> ModelText:
    spans = [Span(text.index(value), text.index(value) + len(value), kind) for value, kind in found]
    return model_text(
        text,
        spans,
        placeholder_spans(text),
        lambda own: ModelChoice.LARGE if any(map(str.isupper, own)) else ModelChoice.CHAT,
    )


def raw_span(seen: ModelText, words: str, kind: str = "PERSON") -> Span | None:
    start = seen.text.index(words)
    return seen.raw(Span(start, start + len(words), kind))


def test_a_value_and_its_placeholder_are_shown_alike() -> None:
    raw = of("Zorla lives at 9 Oak Way, order A-1", ("Zorla", "PERSON"), ("9 Oak Way", "ADDRESS"), ("A-1", "ORDER_ID"))
    scrubbed = of("<PERSON_3> lives at <ADDRESS_1>, order <ORDER_ID_12>")
    assert raw.text == scrubbed.text == "john lives at 12 main street, order 4711"
    assert raw.standins == scrubbed.standins
    assert of("It is Bob or <PERSON_1>").text == "It is Bob or John"
    assert of("it is \u2039PERSON_1\u203a").text == "it is john"


def test_the_model_is_chosen_by_what_is_not_found() -> None:
    assert of("hi ZORLA", ("ZORLA", "PERSON")).model is ModelChoice.CHAT
    assert of("Hi <PERSON_1>").text == "Hi John"
    lowercase = model_text("Hi Zorla", [], [], lambda own: ModelChoice.CHAT)
    assert lowercase.text == "hi zorla"
    assert model_text("\u0130 say", [], [], lambda own: ModelChoice.CHAT).text == "\u0130 say"


def test_own_words_keep_their_position() -> None:
    assert of("hi Zorla!", ("Zorla", "PERSON")).own == "hi \0\0\0\0!"


def test_a_guess_takes_the_values_of_its_kind_along_and_leaves_others() -> None:
    text = "a1 Zorla Walling of Raleigh"
    seen = of(text, ("a1", "ORDER_ID"), ("Zorla", "PERSON"))
    assert seen.text == "4711 John Walling of Raleigh"
    assert raw_span(seen, "John Walling") == Span(3, 16, "PERSON")
    assert raw_span(seen, "4711 John Walling") == Span(2, 16, "PERSON")
    assert raw_span(seen, "Raleigh") == Span(20, 27, "PERSON")
    assert raw_span(seen, "John Walling", "ADDRESS") == Span(8, 16, "ADDRESS")
    assert raw_span(seen, "John") is None


def test_a_guess_that_ends_in_a_value() -> None:
    seen = of("to Zorla Walling", ("Walling", "PERSON"))
    assert seen.text == "to Zorla John"
    assert raw_span(seen, "Zorla John") == Span(3, 16, "PERSON")
    assert raw_span(seen, "Zorla John", "ADDRESS") == Span(3, 9, "ADDRESS")


@given(
    st.lists(
        st.tuples(st.text("xy ", max_size=4), st.sampled_from(["PERSON", "ORDER_ID", "ADDRESS", "IBAN_CODE"])),
        max_size=5,
    )
)
def test_what_is_no_value_is_found_again(parts: list[tuple[str, str]]) -> None:
    text, found = "", []
    for words, kind in parts:
        text += words
        found.append(Span(len(text), len(text) + 5, kind))
        text += "VALUE"
    seen = model_text(text, found, (), lambda own: ModelChoice.CHAT)
    for start, letter in enumerate(seen.own):
        if letter in "xy":
            raw = seen.raw(Span(start, start + 1, "NONE"))
            assert raw is not None
            assert text[raw.start : raw.end] == letter
