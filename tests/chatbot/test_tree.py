"""Matching a history that a client sent again with the turns that are stored."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chatbot.api.tree import Sent, match
from shoptalk.domain import Role
from shoptalk.store.chat.chats import Node


def node(name: str, parent: str | None, text: str, role: Role = "user") -> Node:
    return Node(name, parent, role, text, None)


def sent(*texts: str) -> list[Sent]:
    return [Sent("assistant" if n % 2 else "user", text) for n, text in enumerate(texts)]


def names(stored: list[Node], history: list[Sent]) -> list[str]:
    return [n.id for n in match(stored, history).nodes]


STORED = [
    node("u1", None, "hello"),
    node("a1", "u1", "hi", "assistant"),
    node("a1b", "u1", "good day", "assistant"),
    node("u2", "a1b", "where is it?"),
    node("a2", "u2", "on its way", "assistant"),
]


def test_an_empty_store_matches_nothing() -> None:
    found = match([], sent("hello"))
    assert (found.end, found.parent) == (0, None)


def test_a_history_sent_again_is_matched_to_its_end() -> None:
    found = match(STORED, sent("hello", "good day", "where is it?", "on its way", "thanks"))
    assert (found.end, found.parent) == (4, "a2")


def test_an_answer_tried_again_is_a_sibling() -> None:
    assert names(STORED, sent("hello", "hi", "another question")) == ["u1", "a1"]
    assert names(STORED, sent("hello")) == ["u1"]


def test_an_edited_message_starts_a_branch() -> None:
    assert names(STORED, sent("hello", "good day", "where is my parcel?")) == ["u1", "a1b"]
    assert names(STORED, sent("hello there", "good day")) == []


def test_the_same_words_by_another_are_another_message() -> None:
    assert names(STORED, [Sent("assistant", "hello")]) == []


def test_a_client_may_send_the_recent_part_only() -> None:
    assert names(STORED, sent("where is it?", "on its way", "thanks")) == ["u2", "a2"]


def test_of_two_answers_that_read_alike_the_one_that_went_on_is_followed() -> None:
    twins = [
        node("u1", None, "hello"),
        node("x", "u1", "hi", "assistant"),
        node("y", "u1", "hi", "assistant"),
        node("u2", "x", "more"),
    ]
    assert names(twins, sent("hello", "hi", "more")) == ["u1", "x", "u2"]
    assert names(twins, sent("hello", "hi", "else")) == ["u1", "x"]


@given(st.lists(st.sampled_from(["a", "b"]), max_size=12), st.lists(st.sampled_from(["a", "b"]), max_size=12))
def test_what_matches_is_a_path_that_reads_like_the_history(first: list[str], second: list[str]) -> None:
    stored: list[Node] = []
    parent = None
    for n, item in enumerate(sent(*first)):
        stored.append(Node(str(n), parent, item.role, item.digest, None))
        parent = str(n)
    history = sent(*second)
    found = match(stored, history)
    assert [(n.role, n.digest) for n in found.nodes] == [(s.role, s.digest) for s in history[: found.end]]
    for one, next_ in zip(found.nodes, found.nodes[1:], strict=False):
        assert next_.parent_id == one.id
    if first == second:
        assert found.end == len(first)
