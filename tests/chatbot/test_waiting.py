"""Whose turn it is."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.engine.protocol import Priority
from chatbot.engine.waiting import Waiting


@dataclass(frozen=True)
class Item:
    """A request of nobody's."""

    client: str
    number: int
    priority: Priority = "normal"


def order(waiting: Waiting[Item]) -> list[Item]:
    return [waiting.pop() for _ in range(len(waiting))]


def test_clients_take_turns_and_each_keeps_its_own_order() -> None:
    waiting: Waiting[Item] = Waiting()
    for number in range(3):
        waiting.push(Item("greedy", number))
    waiting.push(Item("other", 0))
    found = [(item.client, item.number) for item in order(waiting)]
    assert found == [("greedy", 0), ("other", 0), ("greedy", 1), ("greedy", 2)]
    with pytest.raises(IndexError):
        waiting.pop()


def test_low_priority_waits_for_all_others() -> None:
    waiting: Waiting[Item] = Waiting()
    waiting.push(Item("shadow", 0, "low"))
    waiting.push(Item("a", 0))
    waiting.push(Item("shadow", 1, "low"), first=True)
    assert (waiting.count("normal"), waiting.count("low"), len(waiting)) == (1, 2, 3)
    assert [(i.client, i.number) for i in order(waiting)] == [("a", 0), ("shadow", 1), ("shadow", 0)]


def test_what_left_does_not_wait() -> None:
    waiting: Waiting[Item] = Waiting()
    gone, kept = Item("a", 0), Item("a", 1)
    waiting.push(gone)
    waiting.push(kept)
    waiting.remove(gone)
    with pytest.raises(ValueError, match="not in"):
        waiting.remove(gone)
    assert list(waiting) == order(waiting) == [kept]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["normal", "low"])), max_size=40))
def test_all_come_out_once_and_nobody_waits_for_two_of_anothers(arrivals: list[tuple[str, Priority]]) -> None:
    waiting: Waiting[Item] = Waiting()
    items = [Item(client, n, priority) for n, (client, priority) in enumerate(arrivals)]
    for item in items:
        waiting.push(item)
    found = order(waiting)
    assert Counter(found) == Counter(items)
    for priority in ("normal", "low"):
        mine = [i for i in found if i.priority == priority]
        left = Counter(i.client for i in mine)
        for now, then in itertools.pairwise(mine):
            left[now.client] -= 1
            assert now.client != then.client or not any(n for c, n in left.items() if c != now.client)
