"""Sampling probabilities: what is recorded is what happens."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeling.selection import draw, inclusion_probabilities

pytestmark = pytest.mark.slow

units = st.lists(st.tuples(st.floats(0.05, 20.0), st.integers(0, 6)), min_size=1, max_size=60)


@given(units, st.integers(1, 40), st.integers(1, 3), st.integers())
@settings(max_examples=150, deadline=None)
def test_size_limits_and_floor(units: list[tuple[float, int]], size: int, per_group: int, seed: int) -> None:
    weights, groups = [w for w, _ in units], [g for _, g in units]
    probabilities = inclusion_probabilities(weights, groups, size, per_group)
    room = sum(min(per_group, n) for n in Counter(groups).values())
    assert math.fsum(probabilities) == pytest.approx(min(size, room), abs=1e-6)
    assert all(0 < p <= 1 for p in probabilities)
    for group in set(groups):
        assert sum(p for p, g in zip(probabilities, groups, strict=True) if g == group) <= per_group
    chosen = draw(probabilities, groups, random.Random(seed))
    assert len(chosen) == len(set(chosen))
    assert len(chosen) == min(size, room)
    assert max(Counter(groups[i] for i in chosen).values()) <= per_group


@pytest.mark.parametrize("seed", range(4))
def test_empirical_frequency_is_the_recorded_probability(seed: int) -> None:
    """20,000 draws: each unit's frequency is within 4.5 standard errors of its probability."""
    rng = random.Random(seed)
    n, draws = 40, 20_000
    weights = [rng.choice([1.0, 2.0, 5.0, 20.0]) for _ in range(n)]
    groups = [rng.randrange(8) for _ in range(n)]
    probabilities = inclusion_probabilities(weights, groups, 12, 3)
    seen: Counter[int] = Counter()
    for _ in range(draws):
        seen.update(draw(probabilities, groups, rng))
    for i, p in enumerate(probabilities):
        error = math.sqrt(p * (1 - p) / draws)
        assert abs(seen[i] / draws - p) <= 4.5 * error + 1e-9, (i, p, seen[i] / draws)


def test_heavier_is_likelier_in_proportion() -> None:
    probabilities = inclusion_probabilities([1, 2, 4], ["a", "b", "c"], 1, 3)
    assert probabilities[1] / probabilities[0] == pytest.approx(2)
    assert probabilities[2] / probabilities[0] == pytest.approx(4)


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf])
def test_odd_weights_are_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        inclusion_probabilities([1.0, weight], [1, 2], 1, 3)


def test_an_estimate_weighted_by_probability_is_unbiased() -> None:
    """The Horvitz-Thompson estimate of a total comes out right although sampling favours what is bad."""
    rng = random.Random(5)
    bad = [rng.random() < 0.2 for _ in range(300)]
    weights = [8.0 if b else 1.0 for b in bad]
    groups = [rng.randrange(120) for _ in bad]
    probabilities = inclusion_probabilities(weights, groups, 60, 3)
    estimates = [sum(bad[i] / probabilities[i] for i in draw(probabilities, groups, rng)) for _ in range(2000)]
    assert sum(estimates) / len(estimates) == pytest.approx(sum(bad), rel=0.03)
