"""The fair queue: which waiting request is served next, and which is displaced."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.engine.fair_queue import FairQueue
from chatbot.engine.protocol import Lane, Priority


@dataclass(frozen=True)
class Item:
    """A request that can wait."""

    client: str
    number: int
    priority: Priority = "normal"
    lane: Lane = "keys"
    of: str = ""
    waited_s: float = 0.0

    @property
    def group(self) -> str:
        return self.of or self.client


def order(queue: FairQueue[Item]) -> list[Item]:
    return [queue.pop() for _ in range(len(queue))]


def test_clients_take_turns_and_each_keeps_its_own_order() -> None:
    queue: FairQueue[Item] = FairQueue()
    for number in range(3):
        queue.push(Item("greedy", number))
    queue.push(Item("other", 0))
    found = [(item.client, item.number) for item in order(queue)]
    assert found == [("greedy", 0), ("other", 0), ("greedy", 1), ("greedy", 2)]
    with pytest.raises(IndexError):
        queue.pop()


def test_low_priority_waits_for_all_others() -> None:
    queue: FairQueue[Item] = FairQueue()
    queue.push(Item("shadow", 0, "low"))
    queue.push(Item("a", 0))
    queue.push(Item("shadow", 1, "low"), first=True)
    assert (queue.count("normal"), queue.count("low"), len(queue)) == (1, 2, 3)
    assert [(i.client, i.number) for i in order(queue)] == [("a", 0), ("shadow", 1), ("shadow", 0)]


def test_what_left_does_not_wait() -> None:
    queue: FairQueue[Item] = FairQueue()
    gone, kept = Item("a", 0), Item("a", 1)
    queue.push(gone)
    queue.push(kept)
    queue.remove(gone)
    with pytest.raises(ValueError, match="not in"):
        queue.remove(gone)
    assert list(queue) == order(queue) == [kept]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["normal", "low"])), max_size=40))
def test_all_come_out_once_and_nobody_waits_for_two_of_anothers(requests: list[tuple[str, Priority]]) -> None:
    queue: FairQueue[Item] = FairQueue()
    items = [Item(client, n, priority) for n, (client, priority) in enumerate(requests)]
    for item in items:
        queue.push(item)
    found = order(queue)
    assert Counter(found) == Counter(items)
    for priority in ("normal", "low"):
        mine = [i for i in found if i.priority == priority]
        left = Counter(i.client for i in mine)
        for now, then in itertools.pairwise(mine):
            left[now.client] -= 1
            assert now.client != then.client or not any(n for c, n in left.items() if c != now.client)


def test_visitors_hold_no_more_than_their_share() -> None:
    queue: FairQueue[Item] = FairQueue(batch=4, visitors=2)
    for number in range(6):
        queue.push(Item(f"visitor {number}", number, lane="visitors"))
    held: Counter[Lane] = Counter()
    while queue.ready(held):
        held[queue.pop(held).lane] += 1
    assert held == {"visitors": 2}
    with pytest.raises(IndexError):
        queue.pop(held)
    queue.push(Item("shop", 0))
    assert queue.pop(held) == Item("shop", 0)
    assert len(queue) == 4


def test_of_two_lanes_the_one_below_its_share_is_next() -> None:
    queue: FairQueue[Item] = FairQueue(batch=8, visitors=2)
    for number in range(20):
        queue.push(Item("shop", number))
        queue.push(Item("visitor", number, lane="visitors"))
    held: Counter[Lane] = Counter()
    for _ in range(8):
        held[queue.pop(held).lane] += 1
    assert held == {"keys": 6, "visitors": 2}


def test_many_cookies_at_one_address_are_one_client() -> None:
    queue: FairQueue[Item] = FairQueue()
    for number in range(50):
        queue.push(Item(f"cookie {number}", number, lane="visitors", of="10.0.0.1"))
    for number in range(2):
        queue.push(Item(f"honest {number}", number, lane="visitors", of=f"10.0.0.{number + 2}"))
    first = [item.group for item in order(queue)[:4]]
    assert first == ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.1"]


def test_the_group_that_waits_with_most_is_displaced_by_one_that_has_less() -> None:
    queue: FairQueue[Item] = FairQueue()
    for number in range(3):
        queue.push(Item("greedy", number, lane="visitors"))
    assert queue.displaced_by("visitors", "other") == Item("greedy", 2, lane="visitors")
    assert queue.displaced_by("visitors", "greedy") is None
    assert queue.displaced_by("keys", "shop") is None


def test_a_full_queue_goes_round() -> None:
    queue: FairQueue[Item] = FairQueue()
    for name in ("one", "two"):
        queue.push(Item(name, 0, lane="visitors"))
    assert queue.displaced_by("visitors", "honest") is None  # nobody had a turn yet: who came first stays
    assert [queue.pop().client, queue.pop().client] == ["one", "two"]
    for name in ("two", "one", "three"):
        queue.push(Item(name, 1, lane="visitors"))
    assert queue.displaced_by("visitors", "honest") == Item("two", 1, lane="visitors")
    assert queue.displaced_by("visitors", "two") is None
    assert queue.displaced_by("visitors", "three") is None  # it waits already
    queue.remove(Item("two", 1, lane="visitors"))
    queue.push(Item("two", 1, lane="visitors", waited_s=1.0))
    assert queue.displaced_by("visitors", "honest") is None  # to refuse it now would be late
    queue.remove(Item("two", 1, lane="visitors", waited_s=1.0))
    assert queue.displaced_by("visitors", "two") is None  # had its turn after the others


EVENTS = st.tuples(st.sampled_from("abc"), st.sampled_from(["keys", "visitors"]), st.booleans())


@given(st.lists(EVENTS, max_size=40), st.integers(1, 6), st.integers(1, 6))
def test_whatever_comes_and_goes_visitors_keep_to_their_share(
    events: list[tuple[str, Lane, bool]], batch: int, visitors: int
) -> None:
    queue: FairQueue[Item] = FairQueue(batch, visitors)
    held: Counter[Lane] = Counter()
    for number, (client, lane, leaves) in enumerate(events):
        queue.push(Item(client, number, lane=lane))
        while sum(held.values()) < batch and queue.ready(held):
            held[queue.pop(held).lane] += 1
        assert held["visitors"] <= min(batch, visitors)
        assert sum(held.values()) == batch or not queue.count("normal", "keys")
        if leaves and held[lane]:
            held[lane] -= 1
