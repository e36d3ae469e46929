"""Lays a batch of examples out without padding, the prompt that they share once.

Examples of a shop begin with the same system prompt, and are of very different lengths. Linear layers take the batch as
one row of tokens: the shared beginning, then what each example has of its own. Only attention needs them side by side.
Knows token ids only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch

Row = Mapping[str, Sequence[int]]
"""An example as token ids, `input_ids`, and `labels`: the same on the reply, `IGNORED` elsewhere."""
IGNORED: Final = -100


def collate(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the batch's layout; all are integers but for `there`.

    `ids` and `positions`, [tokens], are the row of tokens; `shared` of them, at the beginning, belong to all examples.
    `own`, [examples, longest], says where each example's own tokens are in the row, `there` which of these exist.
    `read`, [reply tokens], says which positions predict `targets`. `tokens` counts them as if nothing were shared.
    """
    shared = _shared(rows)
    ids, positions = list(rows[0]["input_ids"][:shared]), list(range(shared))
    longest = max(len(row["input_ids"]) for row in rows) - shared
    own, there = torch.zeros(len(rows), longest, dtype=torch.long), torch.zeros(len(rows), longest, dtype=torch.bool)
    read: list[int] = []
    targets: list[int] = []
    for i, row in enumerate(rows):
        tokens, start = row["input_ids"], len(ids)
        count = len(tokens) - shared
        own[i, :count], there[i, :count] = torch.arange(start, start + count), True
        ids += tokens[shared:]
        positions += range(shared, len(tokens))
        for at, label in enumerate(row["labels"]):
            if label != IGNORED and at:
                read.append(at - 1 if at <= shared else start + at - 1 - shared)
                targets.append(label)
    return {
        "ids": torch.tensor(ids),
        "positions": torch.tensor(positions),
        "own": own,
        "there": there,
        "shared": shared,
        "read": torch.tensor(read, dtype=torch.long),
        "targets": torch.tensor(targets, dtype=torch.long),
        "tokens": sum(len(row["input_ids"]) for row in rows),
    }


def _shared(rows: Sequence[Row]) -> int:
    """Return how many tokens all prompts begin with; each example keeps at least one of its own."""
    first = rows[0]["input_ids"]
    for at in range(min(map(_prompt, rows))):
        if any(row["input_ids"][at] != first[at] for row in rows):
            return at
    return min(map(_prompt, rows))


def _prompt(row: Row) -> int:
    """Return the number of tokens before the reply; where there is none, all but the last."""
    replied = (at for at, label in enumerate(row["labels"]) if label != IGNORED)
    return next(replied, len(row["input_ids"]) - 1)
