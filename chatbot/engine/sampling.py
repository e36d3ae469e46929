"""Chooses the next token of every row. Knows logits and settings only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from chatbot.engine.protocol import Sampling

GREEDY = 1e-4  # temperatures below are greedy: dividing by less overflows


@dataclass(frozen=True, slots=True)
class Choice:
    """A token id, its log-probability under the model (temperature 1), and the likeliest alternatives."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...]


def generator_for(sampling: Sampling) -> torch.Generator | None:
    """A row's own random stream, so that its draws do not depend on its neighbours; None where greedy."""
    if sampling.temperature < GREEDY:
        return None
    generator = torch.Generator()
    if sampling.seed is None:
        generator.seed()
    else:
        generator.manual_seed(sampling.seed)
    return generator


def choose(
    logits: torch.Tensor,
    samplings: Sequence[Sampling],
    generators: Sequence[torch.Generator | None],
    banned: Sequence[int | None],
) -> list[Choice]:
    """One choice per row of `logits` [rows, vocabulary]. `banned` names a token a row may not choose now."""
    scores = logits.float()
    for row, token in enumerate(banned):
        if token is not None:
            scores[row, token] = float("-inf")
    tokens = scores.argmax(-1)
    for row, generator in enumerate(generators):
        if generator is not None:
            tokens[row] = _draw(scores[row], samplings[row], generator)
    totals = scores.logsumexp(-1)
    chosen = (scores.gather(1, tokens[:, None])[:, 0] - totals).tolist()
    choices = []
    for row, (token, logprob) in enumerate(zip(tokens.tolist(), chosen, strict=True)):
        top: tuple[tuple[int, float], ...] = ()
        if wanted := samplings[row].logprobs:
            values, ids = scores[row].topk(wanted)
            top = tuple(zip(ids.tolist(), (values - totals[row]).tolist(), strict=True))
        choices.append(Choice(token, logprob, top))
    return choices


def _draw(scores: torch.Tensor, sampling: Sampling, generator: torch.Generator) -> torch.Tensor:
    """Temperature, then nucleus sampling (Holtzman et al. 2020, arXiv:1904.09751)."""
    probabilities = torch.softmax(scores / sampling.temperature, -1)
    if sampling.top_p < 1:
        ordered, ids = probabilities.sort(descending=True)
        outside = ordered.cumsum(-1) - ordered >= sampling.top_p
        probabilities = probabilities.index_fill(0, ids[outside], 0.0)
    return torch.multinomial(probabilities, 1, generator=generator)[0]
