"""Text as tokens come: whole characters only, nothing of a stop string, whatever the pieces."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chatbot.engine.detokenizer import TextStream


class Bytes:
    """A tokenizer whose tokens are given byte strings, decoded as byte-level ones are."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces

    def decode(self, ids: Sequence[int], **_: object) -> str:
        return b"".join(self._pieces[i] for i in ids).decode("utf-8", "replace")


def run(pieces: Sequence[bytes], stop: tuple[str, ...] = ()) -> tuple[list[str], TextStream]:
    stream = TextStream(Bytes(pieces), stop)
    shown = []
    for token in range(len(pieces)):
        shown.append(stream.feed(token))
        if stream.stopped:
            break
    shown.append(stream.flush())
    return shown, stream


def cut(data: bytes, at: Sequence[int]) -> list[bytes]:
    ends = [0, *sorted({a % (len(data) + 1) for a in at}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(ends) if a < b]


TEXT = st.text("ab\nü🙂", max_size=30) | st.text(max_size=20)
STOPS = st.lists(st.text("ab\nü🙂", min_size=1, max_size=4), max_size=3).map(tuple)


@pytest.mark.slow
@given(text=TEXT, at=st.lists(st.integers(0, 200)), stop=STOPS)
@settings(max_examples=400)
@example(text="aab", at=[0, 1, 2], stop=("ab",))
@example(text="a🙂b", at=[2, 3, 4], stop=("🙂b",))
def test_any_text_in_any_pieces(text: str, at: list[int], stop: tuple[str, ...]) -> None:
    shown, stream = run(cut(text.encode(), at), stop)
    out = "".join(shown)
    assert out == stream.text
    assert not any("\ufffd" in piece for piece in shown) or "\ufffd" in text
    assert not any(s in out for s in stop)
    if stream.stopped:
        assert any(text[len(out) :].startswith(s) for s in stop)
    else:
        assert out == text
    assert stream.stopped == any(s in text for s in stop)


@given(pieces=st.lists(st.binary(min_size=1, max_size=4), max_size=12), stop=STOPS)
@settings(max_examples=400)
@example(pieces=[b"b", b"a\xc3"], stop=("ba",))
def test_bytes_that_are_no_text_crash_nothing(pieces: list[bytes], stop: tuple[str, ...]) -> None:
    shown, stream = run(pieces, stop)
    assert "".join(shown) == stream.text
    assert not any(s in stream.text for s in stop)


def test_what_may_begin_a_stop_string_waits() -> None:
    stream = TextStream(Bytes([b"one", b" ST", b"A", b"RT"]), ("STOP",))
    assert [stream.feed(i) for i in range(3)] == ["one", " ", "STA"]
    assert stream.feed(3) == "RT"


def test_half_a_character_waits() -> None:
    smile = "🙂".encode()
    stream = TextStream(Bytes([b"a", smile[:2], smile[2:], b"b"]), ())
    assert [stream.feed(i) for i in range(4)] == ["a", "", "🙂", "b"]
