"""Choose the next token of every sequence, in one kernel for the batch. Knows logits and settings only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from chatbot.engine.compute.threads import ThreadTeam
from chatbot.engine.compute.token_choice import CHOICE, choose_tokens
from chatbot.engine.protocol import Sampling

GREEDY = 1e-4  # temperatures below are greedy: dividing by less overflows
NONE = -1


@dataclass(frozen=True, slots=True)
class TokenChoice:
    """A token id, its natural-log probability under the model (temperature 1), and the likeliest alternatives."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...]


def generator_for(sampling: Sampling) -> np.random.Generator | None:
    """Return a sequence's own random stream, so that its draws depend on no other sequence; None where greedy."""
    if sampling.temperature < GREEDY:
        return None
    seed = None if sampling.seed is None else sampling.seed % 2**64
    return np.random.Generator(np.random.Philox(seed))


class Sampler:
    """Chooser of tokens for up to `max_batch` sequences. Used by the engine's thread only."""

    def __init__(self, team: ThreadTeam, head: torch.Tensor, max_batch: int) -> None:
        """Set up buffers; `head` is the output layer's weight, [vocabulary, hidden]."""
        dtype, (vocabulary, width) = head.dtype, head.shape
        self._head = head
        self._kernel = team.kernel(choose_tokens, CHOICE, dtype)
        self._team = team
        self._record = np.zeros(1, dtype=CHOICE)
        self._banned, self._tokens = np.zeros(max_batch, np.int64), np.zeros(max_batch, np.int64)
        names = ("temperature", "top_p", "uniform", "logprob")
        self._temperature, self._top_p, self._uniform, self._logprob = (np.zeros(max_batch, np.float32) for _ in names)
        self._scratch = np.zeros((team.threads, vocabulary), np.float32)
        for name in ("banned", "tokens", "scratch", *names):
            self._record[name] = getattr(self, f"_{name}").ctypes.data
        self._record["vocabulary"], self._record["size"] = vocabulary, dtype.itemsize
        self._record["width"], self._record["head"] = width, head.data_ptr()

    def choose(
        self,
        hidden: torch.Tensor,
        logits: torch.Tensor,
        samplings: Sequence[Sampling],
        generators: Sequence[np.random.Generator | None],
        banned: Sequence[int | None],
    ) -> list[TokenChoice]:
        """Return one choice per sequence.

        `hidden` is [sequences, hidden], `logits` its product with the head, [sequences, vocabulary]. `banned` holds the
        token that each sequence may not choose now, or None; its logit is overwritten.
        """
        n = len(samplings)
        for i, (sampling, generator) in enumerate(zip(samplings, generators, strict=True)):
            token = banned[i]
            self._banned[i] = NONE if token is None else token
            self._temperature[i] = 0.0 if generator is None else sampling.temperature
            if generator is not None:
                self._top_p[i], self._uniform[i] = sampling.top_p, generator.random(dtype=np.float32)
        threads = min(self._team.threads, n)
        self._record["threads"], self._record["rows"], self._record["logits"] = threads, n, logits.data_ptr()
        self._record["hidden"] = hidden.data_ptr()
        self._kernel(self._record.ctypes.data, threads)
        found = zip(self._tokens[:n].tolist(), self._logprob[:n].tolist(), strict=True)
        tops = (_alternatives(line, sampling.logprobs) for line, sampling in zip(logits, samplings, strict=True))
        return [TokenChoice(token, logprob, top) for (token, logprob), top in zip(found, tops, strict=True)]


def _alternatives(logits: torch.Tensor, count: int | None) -> tuple[tuple[int, float], ...]:
    if not count:
        return ()
    values, ids = torch.log_softmax(logits.float(), -1).topk(count)
    return tuple(zip(ids.tolist(), values.tolist(), strict=True))
