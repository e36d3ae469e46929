"""Sampling from the store: what counts as useful, limits, idempotence."""

from __future__ import annotations

import math
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from labeling.sampling import sample
from labeling.usefulness import BASE, FIRST, MOST, THUMBS_DOWN, UNRESOLVED, Signals, usefulness
from shoptalk.domain import Feedback
from shoptalk.store.database import Store
from shoptalk.store.ingest import turns
from shoptalk.store.labeling import samples

from .world import START, add_conversation, add_feedback


def test_a_round_keeps_its_samples(store: Store) -> None:
    for i in range(30):
        add_conversation(store, f"c{i}", [("hi", "hello")])
    first = sample(store, "r1", 10, random.Random(1))
    assert len(first) == 10
    assert sample(store, "r1", 10, random.Random(2)) == first
    second = sample(store, "r2", 100, random.Random(3))
    assert len(second) == 20
    assert not {s.turn_id for s in first} & {s.turn_id for s in second}
    assert all(s.inclusion_probability == 1.0 for s in second)


def test_of_what_says_nearly_the_same_the_newest_is_sampled(store: Store) -> None:
    for i in range(6):
        add_conversation(store, f"c{i}", [("hi", "hello")])
    clusters = {"turn_c1_0_user": "u1", "turn_c2_0_user": "u1", "turn_c3_0_user": "u2", "turn_c4_0_user": "u1"}
    clusters |= {"turn_c1_0_assistant": "a1", "turn_c2_0_assistant": "a1", "turn_c3_0_assistant": "a1"}
    clusters |= {"turn_c4_0_assistant": "a2"}
    with store.write() as conn:
        rows = [turns.Features(turn, 2, 1, False, None, cluster=cluster) for turn, cluster in clusters.items()]
        turns.add_features(conn, turns.FEATURES, rows)
    chosen = sample(store, "r1", 50, random.Random(1))
    assert {s.conversation_id for s in chosen} == {"c0", "c2", "c3", "c4", "c5"}


def test_at_most_three_of_a_conversation(store: Store) -> None:
    add_conversation(store, "long", [(f"q{n}", f"a{n}") for n in range(20)])
    for i in range(5):
        add_conversation(store, f"c{i}", [("hi", "hello")])
    chosen = sample(store, "r1", 50, random.Random(1))
    assert Counter(s.conversation_id for s in chosen)["long"] == 3
    assert len(chosen) == 8


def test_complaints_and_novelty_weigh_as_stated(store: Store) -> None:
    for i in range(40):
        add_conversation(store, f"c{i}", [("hi", "hello")], logprob=0.0)
    add_feedback(store, "c3", "inf_c3_0", "thumbs", 0)
    add_feedback(store, "c4", None, "resolved", 0)
    add_feedback(store, "c5", "inf_c5_0", "thumbs", 1)
    seen: dict[str, float] = {}
    for n in range(30):  # each round draws from what earlier ones left
        for s in sample(store, f"r{n}", 2, random.Random(n), novelty={"turn_c6_0_assistant": 1.0} if n else None):
            seen[s.conversation_id] = s.inclusion_probability
            assert s.strategy == ("novelty" if n else "usefulness")
    assert len(seen) == 40
    with store.read() as conn:
        first = samples.of_round(conn, "r0")
    plain = BASE + FIRST
    total = 38 * plain + (plain + THUMBS_DOWN) + (plain + UNRESOLVED)
    weights = {"c3": plain + THUMBS_DOWN, "c4": plain + UNRESOLVED}
    for s in first:
        assert s.inclusion_probability == pytest.approx(2 * weights.get(s.conversation_id, plain) / total)


def test_usefulness_is_bounded() -> None:
    assert usefulness(Signals()) == BASE
    down = [("thumbs", 0.0), ("rating", 1.0), ("resolved", 0.0), ("correction", 1.0)]
    worst = tuple(
        Feedback(id=m, conversation_id="c", inference_id="i", metric=m, value=v, comment=None, created_at=START)
        for m, v in down
    )
    assert usefulness(Signals(-9.0, worst, True, 5.0)) == MOST
    assert usefulness(Signals(-9.0, worst * 3, True, 5.0)) == MOST
    praise = tuple(
        Feedback(id=m, conversation_id="c", inference_id="i", metric=m, value=v, comment=None, created_at=START)
        for m, v in [("thumbs", 1), ("rating", 5), ("resolved", 1)]
    )
    assert usefulness(Signals(0.0, praise)) == BASE
    assert usefulness(Signals(math.nan)) == BASE
    assert usefulness(Signals(-math.inf)) > BASE
    assert usefulness(Signals(first_reply=True)) > BASE


def test_first_replies_and_conversation_feedback(store: Store) -> None:
    replies = add_conversation(store, "c", [("a", "b"), ("c", "d")])
    add_feedback(store, "c", None, "resolved", 0)
    add_feedback(store, "c", "inf_c_0", "thumbs", 0)
    with store.read() as conn:
        assert samples.first_replies(conn, replies) == {replies[0]}
        found = samples.conversation_feedback(conn, ["c", "other"])
    assert [f.metric for f in found["c"]] == ["resolved"]


def test_two_samplers_at_once_make_one_round(store: Store) -> None:
    for i in range(60):
        add_conversation(store, f"c{i}", [("hi", "hello")])
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda seed: sample(store, "r1", 10, random.Random(seed)), range(4)))
    with store.read() as conn:
        kept = samples.of_round(conn, "r1")
    assert len(kept) == 10
    assert all(result == kept for result in results)


def test_nothing_to_sample(store: Store) -> None:
    assert sample(store, "r1", 10, random.Random(1)) == []
