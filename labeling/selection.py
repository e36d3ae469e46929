"""Draws a sample without replacement, with unequal and exactly known probabilities. Knows only weights and groups.

The method is systematic sampling: W. G. Madow, "On the theory of systematic sampling, II", Annals of Mathematical
Statistics 20 (1949) 333-354, over a random order (Hartley and Rao, 1962). Place the units end to end on a line, each
as long as its inclusion probability, and take the units in which u, u+1, u+2 ... fall for one u uniform on [0, 1). Any
order gives each unit exactly its probability. An interval of length L holds at most ceil(L) of these points, so at most
`per_group` units of a group are drawn where the group's units are adjacent and no longer than that together; this
changes no probability. Probabilities are multiples of 2^-40 and drawn as integers, so there is no rounding error.
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
    """Return probabilities proportional to `weights`, limited to 1 per unit and `per_group` per group.

    They sum to `size`, or to as much as these limits allow, less at most 2^-40 per unit. Raises ValueError for a weight
    that is not positive and finite.
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
    """Return the indices of the units drawn. Each is drawn with its probability, and none twice."""
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
    """Return the indices of each group's members."""
    members: dict[Hashable, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(group, []).append(i)
    return list(members.values())


def _length(weights: Iterable[float], scale: float) -> float:
    return math.fsum(min(1.0, scale * w) for w in weights)


def _largest(length: Callable[[float], float], target: float, weights: Iterable[float]) -> float:
    """Return the largest scale at which `length`, which grows with the scale, is at most `target`."""
    low, high = 0.0, 1.0 / min(weights)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if length(middle) <= target else (low, middle)
    return low
