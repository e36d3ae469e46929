"""Batches of like lengths."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from training.batches import like_lengths


@given(st.lists(st.integers(1, 500), min_size=1, max_size=60), st.integers(1, 9), st.integers(1, 20), st.integers(0, 9))
def test_every_example_before_any_again(lengths: list[int], batch: int, steps: int, seed: int) -> None:
    order = like_lengths(lengths, batch, steps, seed)
    assert len(order) == batch * steps
    assert order == like_lengths(lengths, batch, steps, seed)
    counts = Counter(order)
    padded = -(-len(lengths) // batch) * batch
    if len(order) >= padded:
        assert set(order[:padded]) == set(range(len(lengths)))
    assert set(counts) <= set(range(len(lengths)))


def test_less_padding() -> None:
    rng = random.Random(1)
    lengths = [rng.randrange(60, 400) for _ in range(320)]

    def computed(order: list[int]) -> int:
        return sum(8 * max(lengths[i] for i in order[n : n + 8]) for n in range(0, len(order), 8))

    plain = list(range(320))
    rng.shuffle(plain)
    assert computed(like_lengths(lengths, 8, 40, 1)) < 0.8 * computed(plain)
