"""How likely given replies are, for evaluation. Knows tokens only."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from chatbot.engine.compute.forward import Forward, Segment
from chatbot.engine.compute.kv_cache import KeyValues
from chatbot.engine.compute.lora import Adapter


def negative_log_likelihoods(
    forward: Forward, adapter: Adapter | None, prompt: list[int], replies: Sequence[list[int]]
) -> list[float]:
    """Of each reply, the mean over its tokens, in nats.

    One pass: the prompt, then each reply, which sees the prompt and itself and stands where it alone would.
    """
    n = len(prompt)
    ids, places, owners = list(prompt), list(range(n)), [-1] * n
    read: list[list[int]] = []  # where each reply's tokens are foretold
    for i, reply in enumerate(replies):
        read.append([n - 1, *range(len(ids), len(ids) + len(reply) - 1)])
        ids += reply
        places += range(n, n + len(reply))
        owners += [i] * len(reply)
    owner = torch.tensor(owners)
    mask = torch.ones(len(ids), len(ids), dtype=torch.bool).tril_()
    mask &= (owner[None] == -1) | (owner[None] == owner[:, None])
    store = KeyValues(forward.weights.shape, forward.weights.dtype, len(ids))
    (hidden,) = forward.prefill([Segment(ids, store, 0, adapter, places, mask)])
    return [
        float(torch.nn.functional.cross_entropy(forward.logits(hidden[at]).float(), torch.tensor(reply)))
        for at, reply in zip(read, replies, strict=True)
    ]
