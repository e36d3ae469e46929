"""Whose turn it is."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.engine.fair_queue import Waiting
from chatbot.engine.protocol import Lane, Priority


@dataclass(frozen=True)
class Item:
    """A request of nobody's."""

    client: str
    number: int
    priority: Priority = "normal"
    lane: Lane = "keys"
    of: str = ""
    waited_s: float = 0.0

    @property
    def group(self) -> str:
        return self.of or self.client


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


def test_visitors_hold_no_more_than_their_part() -> None:
    waiting: Waiting[Item] = Waiting(batch=4, visitors=2)
    for number in range(6):
        waiting.push(Item(f"visitor {number}", number, lane="visitors"))
    held: Counter[Lane] = Counter()
    while waiting.ready(held):
        held[waiting.pop(held).lane] += 1
    assert held == {"visitors": 2}
    with pytest.raises(IndexError):
        waiting.pop(held)
    waiting.push(Item("shop", 0))
    assert waiting.pop(held) == Item("shop", 0)
    assert len(waiting) == 4


def test_of_two_lanes_the_one_below_its_part_is_next() -> None:
    waiting: Waiting[Item] = Waiting(batch=8, visitors=2)
    for number in range(20):
        waiting.push(Item("shop", number))
        waiting.push(Item("visitor", number, lane="visitors"))
    held: Counter[Lane] = Counter()
    for _ in range(8):
        held[waiting.pop(held).lane] += 1
    assert held == {"keys": 6, "visitors": 2}


def test_many_cookies_at_one_address_are_one_client() -> None:
    waiting: Waiting[Item] = Waiting()
    for number in range(50):
        waiting.push(Item(f"cookie {number}", number, lane="visitors", of="10.0.0.1"))
    for number in range(2):
        waiting.push(Item(f"honest {number}", number, lane="visitors", of=f"10.0.0.{number + 2}"))
    first = [item.group for item in order(waiting)[:4]]
    assert first == ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.1"]


def test_who_waits_with_most_gives_way_to_who_has_less() -> None:
    waiting: Waiting[Item] = Waiting()
    for number in range(3):
        waiting.push(Item("greedy", number, lane="visitors"))
    assert waiting.displaced_by("visitors", "other") == Item("greedy", 2, lane="visitors")
    assert waiting.displaced_by("visitors", "greedy") is None
    assert waiting.displaced_by("keys", "shop") is None


def test_a_full_line_goes_round() -> None:
    waiting: Waiting[Item] = Waiting()
    for name in ("one", "two"):
        waiting.push(Item(name, 0, lane="visitors"))
    assert waiting.displaced_by("visitors", "honest") is None  # nobody had a turn yet: who came first stays
    assert [waiting.pop().client, waiting.pop().client] == ["one", "two"]
    for name in ("two", "one", "three"):
        waiting.push(Item(name, 1, lane="visitors"))
    assert waiting.displaced_by("visitors", "honest") == Item("two", 1, lane="visitors")
    assert waiting.displaced_by("visitors", "two") is None
    assert waiting.displaced_by("visitors", "three") is None  # it waits already
    waiting.remove(Item("two", 1, lane="visitors"))
    waiting.push(Item("two", 1, lane="visitors", waited_s=1.0))
    assert waiting.displaced_by("visitors", "honest") is None  # to refuse it now would be late
    waiting.remove(Item("two", 1, lane="visitors", waited_s=1.0))
    assert waiting.displaced_by("visitors", "two") is None  # had its turn after the others


LANED = st.tuples(st.sampled_from("abc"), st.sampled_from(["keys", "visitors"]), st.booleans())


@given(st.lists(LANED, max_size=40), st.integers(1, 6), st.integers(1, 6))
def test_whatever_comes_and_goes_visitors_keep_to_their_part(
    events: list[tuple[str, Lane, bool]], batch: int, visitors: int
) -> None:
    waiting: Waiting[Item] = Waiting(batch, visitors)
    held: Counter[Lane] = Counter()
    for number, (client, lane, leaves) in enumerate(events):
        waiting.push(Item(client, number, lane=lane))
        while sum(held.values()) < batch and waiting.ready(held):
            held[waiting.pop(held).lane] += 1
        assert held["visitors"] <= min(batch, visitors)
        assert sum(held.values()) == batch or not waiting.count("normal", "keys")
        if leaves and held[lane]:
            held[lane] -= 1
