"""Measures at start how many threads a step is fastest with, and how much of a prompt fits between two steps.

Beside a busy neighbour two threads may be slower than one.
"""

from __future__ import annotations

import time

import structlog
import torch

from chatbot.engine.compute.forward import Forward, Segment, Token
from chatbot.engine.compute.kv_cache import KeyValues
from chatbot.engine.compute.threads import Team

log = structlog.get_logger(__name__)
STEPS = 5
CLEARLY = 0.95  # fewer threads must be this much faster
PAUSE_S = 0.1  # what somebody who reads along hardly notices
LEAST = 32  # tokens; passes of fewer cost hardly less


def fastest_threads(forward: Forward, team: Team, rows: int) -> int:
    """From all down to one by halves, the one whose fastest step is the shortest."""
    store = KeyValues(forward.weights.shape, forward.weights.dtype, 1)
    tokens = [Token(0, store, 0, None)] * rows
    took: dict[int, float] = {}
    count = team.threads
    while count >= 1:
        team.threads = count
        torch.set_num_threads(count)
        took[count] = min(_step(forward, tokens) for _ in range(STEPS))
        count //= 2
    best = max(took)
    for fewer in sorted(took, reverse=True):
        if took[fewer] < CLEARLY * took[best]:
            best = fewer
    log.info("threads chosen", threads=best, step_ms={n: round(1000 * s, 1) for n, s in took.items()})
    return best


def unnoticed_chunk(forward: Forward, most: int) -> int:
    """Tokens of a prompt, `most` or a half of it or of that, that are computed within PAUSE_S; LEAST at least."""
    store = KeyValues(forward.weights.shape, forward.weights.dtype, 1)
    took: dict[int, float] = {}
    count = most
    while True:
        segment = Segment([0] * count, store, 0, None)
        took[count] = min(_pass(forward, segment) for _ in range(2))
        if took[count] <= PAUSE_S or count // 2 < LEAST:
            break
        count //= 2
    log.info("prompts divided", chunk=count, pass_ms={n: round(1000 * s, 1) for n, s in took.items()})
    return count


def _pass(forward: Forward, segment: Segment) -> float:
    began = time.perf_counter()
    forward.prefill([segment])
    return time.perf_counter() - began


def _step(forward: Forward, tokens: list[Token]) -> float:
    began = time.perf_counter()
    forward.logits(forward.decode(tokens))
    return time.perf_counter() - began
