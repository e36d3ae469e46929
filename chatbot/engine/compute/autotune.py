"""Measure at start how many threads a step is fastest with, and how much of a prompt fits between two steps.

Beside another busy process two threads may be slower than one. Knows no requests.
"""

from __future__ import annotations

import time

import structlog
import torch

from chatbot.engine.compute.forward import DecodeToken, Forward, Segment
from chatbot.engine.compute.kv_cache import KVCache
from chatbot.engine.compute.threads import ThreadTeam

log = structlog.get_logger(__name__)
STEPS = 5
CLEARLY = 0.95  # of the time with more threads: fewer are chosen only below this
PAUSE_S = 0.1  # a pause that a person who reads a stream hardly notices
MIN_CHUNK = 32  # tokens; passes of fewer cost hardly less


def fastest_threads(forward: Forward, team: ThreadTeam, batch: int) -> int:
    """Return the number of threads with the shortest decode step of `batch` sequences.

    Tries all of the team's threads, then half as many, down to one. Sets the team's and PyTorch's threads meanwhile.
    """
    kv_cache = KVCache(forward.weights.shape, forward.weights.dtype, 1)
    tokens = [DecodeToken(0, kv_cache, 0, None)] * batch
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
    log.info("threads measured", threads=best, step_ms={n: round(1000 * s, 1) for n, s in took.items()})
    return best


def chunk_within_pause(forward: Forward, most: int) -> int:
    """Return how many tokens of a prompt are computed within PAUSE_S: `most`, or a half of it, or of that.

    Never goes below MIN_CHUNK by halving.
    """
    kv_cache = KVCache(forward.weights.shape, forward.weights.dtype, 1)
    took: dict[int, float] = {}
    count = most
    while True:
        segment = Segment([0] * count, kv_cache, 0, None)
        took[count] = min(_pass(forward, segment) for _ in range(2))
        if took[count] <= PAUSE_S or count // 2 < MIN_CHUNK:
            break
        count //= 2
    log.info("prompt chunk measured", chunk=count, pass_ms={n: round(1000 * s, 1) for n, s in took.items()})
    return count


def _pass(forward: Forward, segment: Segment) -> float:
    began = time.perf_counter()
    forward.prefill([segment])
    return time.perf_counter() - began


def _step(forward: Forward, tokens: list[DecodeToken]) -> float:
    began = time.perf_counter()
    forward.logits(forward.decode(tokens))
    return time.perf_counter() - began
