"""Compute how likely given replies are, for evaluation. Knows tokens only."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from chatbot.engine.compute.forward import Forward, Segment
from chatbot.engine.compute.kv_cache import KVCache
from chatbot.engine.compute.lora import LoraAdapter


def negative_log_likelihoods(
    forward: Forward, adapter: LoraAdapter | None, prompt: list[int], replies: Sequence[list[int]]
) -> list[float]:
    """Return each reply's mean negative log-likelihood, in nats per token.

    One pass computes the prompt and then all replies. Each reply attends to the prompt and itself, at the positions it
    would have alone.
    """
    n = len(prompt)
    ids, rotary, owners = list(prompt), list(range(n)), [-1] * n
    read: list[list[int]] = []  # the positions that predict each reply's tokens
    for i, reply in enumerate(replies):
        read.append([n - 1, *range(len(ids), len(ids) + len(reply) - 1)])
        ids += reply
        rotary += range(n, n + len(reply))
        owners += [i] * len(reply)
    owner = torch.tensor(owners)
    mask = torch.ones(len(ids), len(ids), dtype=torch.bool).tril_()
    mask &= (owner[None] == -1) | (owner[None] == owner[:, None])
    kv_cache = KVCache(forward.weights.shape, forward.weights.dtype, len(ids))
    (hidden,) = forward.prefill([Segment(ids, kv_cache, 0, adapter, rotary, mask)])
    return [
        float(torch.nn.functional.cross_entropy(forward.logits(hidden[at]).float(), torch.tensor(reply)))
        for at, reply in zip(read, replies, strict=True)
    ]
