"""Decides how long to train: as many steps as the data need, within limits of tokens and minutes. Knows no model."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

from training.recipe import Recipe


def choose(sizes: Sequence[int], recipe: Recipe) -> list[int]:
    """Return which examples to train on, as positions in `sizes`: their tokens, oldest example first.

    All where the recipe's epochs of them are within its tokens. Else the newest make up half of what is possible, and
    the rest is drawn from the older ones, so that what is new always counts and what was learned is not forgotten.
    """
    room = recipe.most_tokens / recipe.epochs
    if recipe.steps is not None:
        room = math.inf
    if sum(sizes) <= room:
        return list(range(len(sizes)))
    older = list(range(len(sizes)))
    kept: list[int] = []
    total = 0
    while older and (not kept or total + sizes[older[-1]] <= room / 2):
        kept.append(older.pop())
        total += sizes[kept[-1]]
    random.Random(recipe.seed).shuffle(older)
    for position in older:
        if total + sizes[position] <= room:
            kept.append(position)
            total += sizes[position]
    return sorted(kept)


def steps(examples: int, recipe: Recipe) -> int:
    """Return the optimizer steps for so many examples: the recipe's own number, else what its epochs take."""
    return recipe.steps if recipe.steps is not None else max(1, math.ceil(recipe.epochs * examples / recipe.batch))


def within_time(recipe: Recipe, tokens_per_second: float) -> Recipe:
    """Return the recipe with as many tokens at most as its minutes allow at this speed, which may be infinite."""
    possible = 60 * recipe.most_minutes * tokens_per_second
    return recipe if possible >= recipe.most_tokens else replace(recipe, most_tokens=int(possible))
