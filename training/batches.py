"""Puts examples of like length into one batch, so that little is computed on padding. Knows lengths only."""

from __future__ import annotations

import random
from collections.abc import Sequence

STRETCH = 8  # batches that are sorted by length together; more would leave less to chance


def like_lengths(lengths: Sequence[int], batch: int, steps: int, seed: int) -> list[int]:
    """Indices for `steps` batches of `batch` examples: each epoch in random order, batches of similar length.

    Every example comes once before any comes again, but for those that fill up an epoch's last batch.
    """
    rng = random.Random(seed)
    order: list[int] = []
    while len(order) < steps * batch:
        epoch = list(range(len(lengths)))
        rng.shuffle(epoch)
        while len(epoch) % batch:
            epoch.append(rng.randrange(len(lengths)))
        batches: list[list[int]] = []
        for start in range(0, len(epoch), STRETCH * batch):
            near = sorted(epoch[start : start + STRETCH * batch], key=lambda i: lengths[i])
            batches += [near[i : i + batch] for i in range(0, len(near), batch)]
        rng.shuffle(batches)
        order += [i for group in batches for i in group]
    return order[: steps * batch]
