"""How long to train follows from the data, within limits, and what is new always counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from training.budget import choose, steps, within_time
from training.recipe import Recipe

RECIPE = Recipe(epochs=2.0, batch=8, most_tokens=2000)


def test_all_examples_are_used_where_there_is_room() -> None:
    assert choose([100] * 10, RECIPE) == list(range(10))


def test_beyond_the_limit_the_newest_are_in_and_older_ones_are_drawn_from() -> None:
    chosen = choose([100] * 100, RECIPE)
    assert len(chosen) == 10  # 2,000 tokens in two epochs of 100 a piece
    assert chosen[-5:] == [95, 96, 97, 98, 99]
    assert chosen == sorted(set(chosen))
    assert chosen == choose([100] * 100, RECIPE)
    assert chosen != choose([100] * 100, replace(RECIPE, seed=18))
    assert sum(n < 50 for n in chosen)  # what is old is not forgotten


@pytest.mark.parametrize("sizes", [[5000], [10, 5000], [5000, 10], [999, 1, 999]])
def test_the_newest_example_is_always_in(sizes: list[int]) -> None:
    assert choose(sizes, RECIPE)[-1] == len(sizes) - 1


def test_steps_are_those_of_the_epochs() -> None:
    assert steps(100, RECIPE) == 25
    assert steps(1, RECIPE) == 1
    assert steps(10_000, replace(RECIPE, steps=7)) == 7


def test_a_fixed_number_of_steps_draws_from_all() -> None:
    assert len(choose([100] * 1000, replace(RECIPE, steps=7))) == 1000


def test_minutes_are_tokens_at_the_speed_that_was_measured() -> None:
    assert within_time(replace(RECIPE, most_minutes=0.5), 10.0).most_tokens == 300
    assert within_time(RECIPE, 1e6) is RECIPE
    assert within_time(RECIPE, float("inf")) is RECIPE  # of a model whose speed is not measured
