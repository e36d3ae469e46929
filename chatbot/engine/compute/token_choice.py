"""The kernel that chooses the next token of every sequence: greedy, or drawn from the nucleus. Knows addresses only.

A row is a sequence's row of the logits matrix.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from chatbot.engine.compute.numeric import FAST, exp, get, int64_at, put, set_int64, thread

CHOICE = np.dtype(
    [(name, np.int64) for name in ("threads", "rows", "vocabulary", "size", "logits", "banned", "tokens", "scratch")]
    + [(name, np.int64) for name in ("temperature", "top_p", "uniform", "logprob")]  # float32 arrays
    + [(name, np.int64) for name in ("width", "hidden", "head")]
)
F = numba.float32
BLOCK = 256
HALVINGS = 40
ROUNDING = 2.0**-7  # of a bfloat16, twice
njit = numba.njit(fastmath=FAST, error_model="numpy")


@njit
def _nucleus(weights, count, share) -> Any:
    """Return the least weight in the nucleus, the smallest set of likeliest tokens that holds `share` of all weight.

    Found by bisection; tokens as likely as the least likely one are all in (Holtzman et al. 2020, arXiv:1904.09751).
    """
    whole = F(0)
    for i in range(count):
        whole += get(weights, i, F(0))
    low, high = F(0), F(1)  # the likeliest token weighs 1
    for _ in range(HALVINGS):
        middle = (low + high) * F(0.5)
        mass = F(0)
        for i in range(count):
            w = get(weights, i, F(0))
            mass += w if w >= middle else F(0)
        if mass >= share * whole:
            low = middle
        else:
            high = middle
    return low


@njit
def _draw(weights, count, least, uniform) -> Any:
    """Return the token at `uniform` (0 to 1) of the cumulative weights, counting those that are at least `least`."""
    whole = F(0)
    for i in range(count):
        w = get(weights, i, F(0))
        whole += w if w >= least else F(0)
    left, last = uniform * whole, 0
    for start in range(0, count, BLOCK):
        stop, mass = min(start + BLOCK, count), F(0)
        for i in range(start, stop):
            w = get(weights, i, F(0))
            mass += w if w >= least else F(0)
        if mass <= left:
            left -= mass
            continue
        for i in range(start, stop):
            w = get(weights, i, F(0))
            if w >= least:
                last = i
                left -= w
                if left < F(0):
                    return i
    if get(weights, last, F(0)) >= least and last > 0:
        return last
    for i in range(count):  # rounding used up all: the likeliest
        if get(weights, i, F(0)) >= F(1):
            return i
    return 0


@njit
def _likeliest(r, row, most, like) -> Any:
    """Return the likeliest token; among logits that rounding made (almost) equal, products in float32 decide."""
    logits = r.logits + row * r.vocabulary * r.size
    hidden, near = r.hidden + row * r.width * r.size, most - abs(most) * F(ROUNDING)
    best, token, count = F(-3e38), 0, r.vocabulary
    for i in range(count):
        if get(logits, i, like) >= near:
            weight, total = r.head + i * r.width * r.size, F(0)
            for j in range(r.width):
                total += get(hidden, j, like) * get(weight, j, like)
            if total > best:
                best, token = total, i
    return token


@njit
def choose_tokens(r, like) -> None:
    """Write `tokens` and `logprob` of every row; set the logit of each banned token to the least."""
    count, me = r.vocabulary, thread()
    weights = r.scratch + 4 * me * count
    for row in range(me, r.rows, r.threads):
        logits = r.logits + row * count * r.size
        banned = int64_at(r.banned, row)
        if banned >= 0:
            put(logits, banned, F(-3e38), like)
        most = F(-3e38)
        for i in range(count):
            most = max(most, get(logits, i, like))
        total = F(0)
        for i in range(count):
            total += exp(get(logits, i, like) - most)
        token, temperature = 0, get(r.temperature, row, F(0))
        if temperature > F(0):
            factor = F(1) / temperature
            for i in range(count):
                w = exp((get(logits, i, like) - most) * factor)
                put(weights, i, w, F(0))
            if banned >= 0:
                put(weights, banned, F(0), F(0))
            share, least = get(r.top_p, row, F(0)), F(0)
            if share < F(1):
                least = _nucleus(weights, count, share)
            token = _draw(weights, count, least, get(r.uniform, row, F(0)))
        else:
            token = _likeliest(r, row, most, like)
        set_int64(r.tokens, row, token)
        put(r.logprob, row, get(logits, token, like) - most - np.log(total), F(0))
