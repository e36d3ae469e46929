"""How tokens are chosen: against PyTorch's own functions, on both element types."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from chatbot.engine.compute.sampling import Sampler, generator_for
from chatbot.engine.compute.threads import ThreadTeam
from chatbot.engine.protocol import Sampling
from tests.conftest import KERNELS

pytestmark = pytest.mark.slow

WIDTH, ROWS = 64, 16
KINDS = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])


@pytest.fixture(scope="module")
def team() -> ThreadTeam:
    return ThreadTeam(2, KERNELS)


def hidden_and_head(vocabulary: int, dtype: torch.dtype, rows: int = ROWS) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(5)
    return torch.randn(rows, WIDTH).to(dtype), torch.randn(vocabulary, WIDTH).to(dtype)


@KINDS
def test_greedy_takes_the_likeliest(team: ThreadTeam, dtype: torch.dtype) -> None:
    hidden, head = hidden_and_head(999, dtype)
    logits = hidden @ head.T
    sampler = Sampler(team, head, ROWS)
    greedy = Sampling(5, temperature=0.0)
    choices = sampler.choose(hidden, logits.clone(), [greedy] * ROWS, [None] * ROWS, [None] * ROWS)
    exact = (hidden.double() @ head.double().T).argmax(-1).tolist()
    assert [c.token for c in choices] == exact
    wanted = torch.log_softmax(logits.float(), -1)
    for row, choice in enumerate(choices):
        assert choice.logprob == pytest.approx(float(wanted[row, choice.token]), abs=1e-4)


def test_of_logits_that_rounding_made_the_same_the_exact_product_decides(team: ThreadTeam) -> None:
    hidden, head = hidden_and_head(50, torch.bfloat16, 1)
    logits = (hidden @ head.T).clone()
    logits[:] = -5.0
    logits[0, 10] = logits[0, 20] = 8.0  # bfloat16 has nothing between 8 and 8.06
    product = (hidden.double() @ head.double().T)[0]
    better = 10 if product[10] > product[20] else 20
    sampler = Sampler(team, head, 1)
    (choice,) = sampler.choose(hidden, logits, [Sampling(5, temperature=0.0)], [None], [None])
    assert choice.token == better


@KINDS
def test_a_banned_token_is_never_chosen(team: ThreadTeam, dtype: torch.dtype) -> None:
    hidden, head = hidden_and_head(300, dtype)
    logits = hidden @ head.T
    best = logits.float().argmax(-1).tolist()
    sampler = Sampler(team, head, ROWS)
    for temperature in (0.0, 0.7):
        settings = [Sampling(5, temperature=temperature, seed=3)] * ROWS
        found = sampler.choose(hidden, logits.clone(), settings, [generator_for(s) for s in settings], best)
        assert all(choice.token != banned for choice, banned in zip(found, best, strict=True))


@pytest.mark.parametrize(("top_p", "temperature"), [(1.0, 1.0), (1.0, 0.5), (0.8, 1.0), (0.5, 2.0)])
def test_draws_follow_the_distribution(team: ThreadTeam, top_p: float, temperature: float) -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0, 3.0, 4.0, -1.0, 0.5, 2.5]]).repeat(ROWS, 1)
    hidden, head = hidden_and_head(8, torch.float32)
    sampler = Sampler(team, head, ROWS)
    settings = [Sampling(5, temperature=temperature, top_p=top_p, seed=n) for n in range(ROWS)]
    generators = [generator_for(s) for s in settings]
    drawn = Counter[int]()
    rounds = 600
    for _ in range(rounds):
        drawn.update(c.token for c in sampler.choose(hidden, logits.clone(), settings, generators, [None] * ROWS))
    wanted = torch.softmax(logits[0] / temperature, -1)
    ordered, ids = wanted.sort(descending=True)
    wanted[ids[ordered.cumsum(0) - ordered >= top_p]] = 0.0
    wanted /= wanted.sum()
    for token, share in enumerate(wanted.tolist()):
        assert drawn[token] / (rounds * ROWS) == pytest.approx(share, abs=0.02)
        assert share or not drawn[token]


@KINDS
def test_alternatives_are_the_likeliest_in_order(team: ThreadTeam, dtype: torch.dtype) -> None:
    hidden, head = hidden_and_head(300, dtype, 2)
    logits = hidden @ head.T
    sampler = Sampler(team, head, 2)
    with_five, without = Sampling(5, temperature=0.0, logprobs=5), Sampling(5, temperature=0.0)
    first, second = sampler.choose(hidden, logits.clone(), [with_five, without], [None] * 2, [None] * 2)
    values, ids = torch.log_softmax(logits[0].float(), -1).topk(5)
    assert [token for token, _ in first.top] == ids.tolist()
    assert [p for _, p in first.top] == pytest.approx(values.tolist(), abs=1e-4)
    assert second.top == ()


def test_infinite_logits_do_not_end_the_kernel(team: ThreadTeam) -> None:
    hidden, head = hidden_and_head(40, torch.float32, 3)
    logits = torch.full((3, 40), float("-inf"))
    logits[0, 7], logits[1] = 1.0, float("nan")
    settings = [Sampling(5, temperature=t, seed=1) for t in (0.0, 1.0, 1.0)]
    found = Sampler(team, head, 3).choose(hidden, logits, settings, [generator_for(s) for s in settings], [None] * 3)
    assert found[0].token == 7
    assert all(0 <= choice.token < 40 for choice in found)
