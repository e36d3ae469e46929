"""A chat that is too long loses its oldest exchanges, whole, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from shoptalk.domain import Message
from shoptalk.models.history import within

SYSTEM = Message("system", "be kind")


def count(messages: Sequence[Message]) -> int:
    """Count words."""
    return sum(len(message.content.split()) for message in messages)


def chat(exchanges: int) -> list[Message]:
    said = [Message(role, f"{role} {n}") for n in range(exchanges) for role in ("user", "assistant")]
    return [SYSTEM, *said, Message("user", "and now")]


def test_what_fits_stays_as_it_is() -> None:
    whole = chat(3)
    assert within(whole, count(whole), count) is whole


@pytest.mark.parametrize("most", range(4, 60))
def test_as_much_as_possible_stays(most: int) -> None:
    whole = chat(14)
    found = within(whole, most, count)
    assert found is not None
    assert found[0] is SYSTEM
    assert list(found[1:]) == whole[len(whole) - len(found) + 1 :]
    assert found[1].role == "user"
    assert most - 4 < count(found) <= most or list(found) == whole


def test_nothing_is_returned_where_the_newest_exchange_is_too_long() -> None:
    assert within(chat(3), 3, count) is None
    assert within([SYSTEM, Message("user", "one two three")], 4, count) is None
    assert within([], -1, count) is None
