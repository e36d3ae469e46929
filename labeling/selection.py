"""Draws without replacement, with unequal probabilities that are known exactly. Knows only weights and groups.

The method is systematic sampling: W. G. Madow, "On the theory of systematic sampling, II", Annals of Mathematical
Statistics 20 (1949) 333-354, over a random order (Hartley and Rao, 1962). Lay the units end to end, each as long as
its inclusion probability, and take the units in which u, u+1, u+2 ... fall for one u uniform on [0, 1). Any order
gives each unit exactly its probability. A stretch of length L holds at most ceil(L) of these points, so keeping each
group together and no longer than `per_group` keeps the draw within `per_group` of every group, at no cost in
exactness. Probabilities are multiples of 2^-40 and drawn in whole numbers, so no rounding blurs them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Hashable, Iterable, Sequence

UNIT = 2**40
BISECTIONS = 100


def inclusion_probabilities(
    weights: Sequence[float], groups: Sequence[Hashable], size: int, per_group: int
) -> list[float]:
    """Probabilities proportional to `weights` (positive) as far as 1 a unit and `per_group` a group allow.

    They sum to `size`, or to as much as those limits leave, less at most 2^-40 a unit.
    """
    if any(not (w > 0 and math.isfinite(w)) for w in weights):
        raise ValueError("weights must be positive and finite")
    blocks = [[weights[i] for i in block] for block in _blocks(groups)]
    room = sum(min(per_group, len(block)) for block in blocks)
    scale = math.inf
    if size < room:
        scale = _largest(lambda s: math.fsum(min(per_group, _length(block, s)) for block in blocks), size, weights)
    result = [0.0] * len(weights)
    for indices, block in zip(_blocks(groups), blocks, strict=True):
        own = scale
        if _length(block, scale) > per_group:
            own = _largest(lambda s, block=block: _length(block, s), per_group, block)  # type: ignore[misc]
        for i, weight in zip(indices, block, strict=True):
            result[i] = math.floor(min(1.0, own * weight) * UNIT) / UNIT
    return result


def draw(probabilities: Sequence[float], groups: Sequence[Hashable], rng: random.Random) -> list[int]:
    """Indices of the units drawn: each with its probability, no unit twice."""
    blocks = _blocks(groups)
    rng.shuffle(blocks)
    point, end = rng.randrange(UNIT), 0
    chosen: list[int] = []
    for block in blocks:
        rng.shuffle(block)
        for i in block:
            end += round(probabilities[i] * UNIT)
            if point < end:
                chosen.append(i)
                point += UNIT
    return chosen


def _blocks(groups: Sequence[Hashable]) -> list[list[int]]:
    """The indices of each group's members."""
    members: dict[Hashable, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(group, []).append(i)
    return list(members.values())


def _length(weights: Iterable[float], scale: float) -> float:
    return math.fsum(min(1.0, scale * w) for w in weights)


def _largest(length: Callable[[float], float], target: float, weights: Iterable[float]) -> float:
    """The largest scale at which `length`, which grows with it, does not exceed `target`."""
    low, high = 0.0, 1.0 / min(weights)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if length(middle) <= target else (low, middle)
    return low
