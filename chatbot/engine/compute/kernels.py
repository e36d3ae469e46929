"""Kernels for a decoder layer's work between its matrix products, for all tokens of a pass.

Each kernel takes one record of the `LAYER` table and computes tokens `thread, thread + threads, ...`. A token's result
depends on that token's own sequence only. LoRA additions are computed here too, each token's with its own adapter, in
float32. Knows addresses and shapes; neither requests nor tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from chatbot.engine.compute.numeric import FAST, exp, get, int64_at, put, thread

# One record a layer. Addresses point into buffers and weights; sizes count elements.
LAYER = np.dtype(
    [
        ("threads", np.int64), ("tokens", np.int64), ("decodes", np.int64), ("hidden", np.int64),
        ("heads", np.int64), ("kv_heads", np.int64), ("dim", np.int64), ("inner", np.int64), ("layer", np.int64),
        ("size", np.int64),  # bytes of an element
        ("epsilon", np.float64), ("scale", np.float64), ("norm_first", np.int64),
        ("norm_inner", np.int64), ("norm_next", np.int64),
        ("residual", np.int64), ("x", np.int64), ("attended", np.int64), ("query", np.int64), ("active", np.int64),
        ("scratch", np.int64), ("scratch_size", np.int64), ("cos", np.int64), ("sin", np.int64),
        # arrays over tokens: the KV cache's address and capacity, the position there, the position for the rotary
        # embedding, the adapter's address and its rank
        ("kv_caches", np.int64), ("capacities", np.int64), ("positions", np.int64), ("rotary", np.int64),
        ("adapters", np.int64), ("ranks", np.int64),
        ("ids", np.int64), ("embedding", np.int64),
        ("y", np.int64),  # result of the last matrix product
    ]
)  # fmt: skip
RECORD = numba.from_dtype(LAYER)
F = numba.float32
njit = numba.njit(fastmath=FAST, error_model="numpy")


@njit
def _load(source, count, target, like) -> None:
    """Read `count` elements and write them as float32."""
    for i in range(count):
        put(target, i, get(source, i, like), F(0))


@njit
def _store(source, count, target, like) -> None:
    """Read `count` float32 and write them as elements."""
    for i in range(count):
        put(target, i, get(source, i, F(0)), like)


@njit
def _lora(x, columns, a, b, rank, out, outs, size, like) -> None:
    """Add B (A x) to `out`, in float32. A is [rank, columns]; B is transposed, [rank, outs]."""
    four = rank - rank % 4
    for j in range(0, four, 4):  # four at a time, so that x and out are read once for all
        s, t, u, v = F(0), F(0), F(0), F(0)
        a0, step = a + j * columns * size, columns * size
        a1, a2, a3 = a0 + step, a0 + 2 * step, a0 + 3 * step
        for i in range(columns):
            each = get(x, i, F(0))
            s += each * get(a0, i, like)
            t += each * get(a1, i, like)
            u += each * get(a2, i, like)
            v += each * get(a3, i, like)
        b0, step = b + j * outs * size, outs * size
        b1, b2, b3 = b0 + step, b0 + 2 * step, b0 + 3 * step
        for i in range(outs):
            more = s * get(b0, i, like) + t * get(b1, i, like) + u * get(b2, i, like) + v * get(b3, i, like)
            put(out, i, get(out, i, F(0)) + more, F(0))
    for j in range(four, rank):
        s = F(0)
        row = a + j * columns * size
        for i in range(columns):
            s += get(x, i, F(0)) * get(row, i, like)
        row = b + j * outs * size
        for i in range(outs):
            put(out, i, get(out, i, F(0)) + s * get(row, i, like), F(0))


@njit
def _block(r, rank) -> Any:
    """Return the elements of one layer of an adapter: A of q, k, v, o, gate, up, down; then their B transposed."""
    wide, narrow = r.heads * r.dim, r.kv_heads * r.dim
    a = 3 * r.hidden + wide + 2 * r.hidden + r.inner
    b = wide + 2 * narrow + r.hidden + 2 * r.inner + r.hidden
    return rank * (a + b)


@njit
def _rotate(vector, dim, cos, sin) -> None:
    """Apply the rotary position embedding to one head, in place (Su et al. 2021, arXiv:2104.09864).

    The two halves of the head form the pairs, as in GPT-NeoX.
    """
    half = dim // 2
    for i in range(half):
        a, b = get(vector, i, F(0)), get(vector, half + i, F(0))
        c, s = get(cos, i, F(0)), get(sin, i, F(0))
        put(vector, i, a * c - b * s, F(0))
        put(vector, half + i, b * c + a * s, F(0))


def make_attention(attend: Callable[..., Any]) -> Callable[..., Any]:
    """Return the kernel after the product that gives q, k and v; `attend` holds its inner loops (see `attention`)."""

    @njit
    def attention(r, like) -> None:
        """Add LoRA to q, k and v in `y`, rotate q and k, and write k and v to the KV cache.

        For decoded tokens compute the attention too; for prompt tokens write the query.
        """
        group = r.heads // r.kv_heads
        wide, narrow = r.heads * r.dim, r.kv_heads * r.dim
        width = wide + 2 * narrow
        me = thread()
        scratch = r.scratch + me * r.scratch_size * 4
        xs, out, scores = scratch + 4 * width, scratch + 4 * (width + r.hidden), scratch + 4 * (width + r.hidden + wide)
        for t in range(me, r.tokens, r.threads):
            _load(r.y + t * width * r.size, width, scratch, like)
            adapter = int64_at(r.adapters, t)
            if adapter:
                rank = int64_at(r.ranks, t)
                a = adapter + r.layer * _block(r, rank) * r.size
                b = a + rank * (5 * r.hidden + wide + r.inner) * r.size
                step = rank * r.hidden * r.size
                _load(r.x + t * r.hidden * r.size, r.hidden, xs, like)
                _lora(xs, r.hidden, a, b, rank, scratch, wide, r.size, like)
                b += rank * wide * r.size
                _lora(xs, r.hidden, a + step, b, rank, scratch + 4 * wide, narrow, r.size, like)
                b += rank * narrow * r.size
                _lora(xs, r.hidden, a + 2 * step, b, rank, scratch + 4 * (wide + narrow), narrow, r.size, like)
            rotary, half = int64_at(r.rotary, t), r.dim // 2
            cos, sin = r.cos + 4 * half * rotary, r.sin + 4 * half * rotary
            for h in range(r.heads + r.kv_heads):
                _rotate(scratch + 4 * h * r.dim, r.dim, cos, sin)
            position, capacity = int64_at(r.positions, t), int64_at(r.capacities, t)
            keys = int64_at(r.kv_caches, t) + 2 * r.layer * r.kv_heads * capacity * r.dim * r.size
            values = keys + r.kv_heads * capacity * r.dim * r.size
            for h in range(r.kv_heads):
                at, key = (h * capacity + position) * r.dim * r.size, scratch + 4 * (wide + h * r.dim)
                _store(key, r.dim, keys + at, like)
                _store(key + 4 * narrow, r.dim, values + at, like)
            if t < r.decodes:
                for h in range(r.kv_heads):
                    start = h * capacity * r.dim * r.size
                    q = scratch + 4 * h * group * r.dim
                    attend(
                        q,
                        keys + start,
                        values + start,
                        position + 1,
                        F(r.scale),
                        scores,
                        out + 4 * h * group * r.dim,
                        like,
                    )
                _store(out, wide, r.attended + t * wide * r.size, like)
            else:
                _store(scratch, wide, r.query + t * wide * r.size, like)

    return attention  # type: ignore[no-any-return]


@njit
def _norm(r, t, weight, like) -> None:
    """Write the residual, normalized by its root mean square, to `x` (Zhang and Sennrich 2019, arXiv:1910.07467)."""
    hidden = r.hidden
    line, out = r.residual + 4 * t * hidden, r.x + t * hidden * r.size
    total = F(0)
    for i in range(hidden):
        v = get(line, i, F(0))
        total += v * v
    factor = F(1) / np.sqrt(total / F(hidden) + F(r.epsilon))
    for i in range(hidden):
        put(out, i, get(line, i, F(0)) * factor * get(weight, i, like), like)


@njit
def embed(r, like) -> None:
    """Make the tokens' embeddings the residual, then apply the first layer's norm."""
    for t in range(thread(), r.tokens, r.threads):
        _load(r.embedding + int64_at(r.ids, t) * r.hidden * r.size, r.hidden, r.residual + 4 * t * r.hidden, like)
        _norm(r, t, r.norm_first, like)


@njit
def _add(r, source, columns, offset_a, offset_b, weight, like) -> None:
    """Add y + LoRA(source) to the residual, then apply the norm that follows."""
    me = thread()
    scratch = r.scratch + me * r.scratch_size * 4
    for t in range(me, r.tokens, r.threads):
        line, more = r.residual + 4 * t * r.hidden, r.y + t * r.hidden * r.size
        for i in range(r.hidden):
            put(line, i, get(line, i, F(0)) + get(more, i, like), F(0))
        adapter = int64_at(r.adapters, t)
        if adapter:
            rank = int64_at(r.ranks, t)
            block = adapter + r.layer * _block(r, rank) * r.size
            _load(source + t * columns * r.size, columns, scratch, like)
            a, b = block + rank * offset_a * r.size, block + rank * offset_b * r.size
            _lora(scratch, columns, a, b, rank, line, r.hidden, r.size, like)
        _norm(r, t, weight, like)


@njit
def add_attention(r, like) -> None:
    """Add o_proj's result to the residual, then apply the norm before the feed-forward."""
    wide, narrow = r.heads * r.dim, r.kv_heads * r.dim
    after = 5 * r.hidden + wide + r.inner
    _add(r, r.attended, wide, 3 * r.hidden, after + wide + 2 * narrow, r.norm_inner, like)


@njit
def add_feed_forward(r, like) -> None:
    """Add down_proj's result to the residual, then apply the next layer's norm."""
    wide, narrow = r.heads * r.dim, r.kv_heads * r.dim
    after = 5 * r.hidden + wide
    b = after + r.inner + wide + 2 * narrow + r.hidden + 2 * r.inner
    _add(r, r.active, r.inner, after, b, r.norm_next, like)


@njit
def activation(r, like) -> None:
    """Write silu(gate) * up, with LoRA; gate and up are the halves of `y`, [tokens, 2 inner]."""
    wide, narrow = r.heads * r.dim, r.kv_heads * r.dim
    me, inner = thread(), r.inner
    scratch = r.scratch + me * r.scratch_size * 4
    xs = scratch + 8 * inner
    for t in range(me, r.tokens, r.threads):
        _load(r.y + 2 * t * inner * r.size, 2 * inner, scratch, like)
        adapter = int64_at(r.adapters, t)
        if adapter:
            rank = int64_at(r.ranks, t)
            block = adapter + r.layer * _block(r, rank) * r.size
            a = block + rank * (3 * r.hidden + wide) * r.size
            b = block + rank * (5 * r.hidden + wide + r.inner + wide + 2 * narrow + r.hidden) * r.size
            _load(r.x + t * r.hidden * r.size, r.hidden, xs, like)
            _lora(xs, r.hidden, a, b, rank, scratch, r.inner, r.size, like)
            a += rank * r.hidden * r.size
            b += rank * r.inner * r.size
            _lora(xs, r.hidden, a, b, rank, scratch + 4 * inner, inner, r.size, like)
        out = r.active + t * inner * r.size
        for i in range(inner):
            g = get(scratch, i, F(0))
            put(out, i, g / (F(1) + exp(-g)) * get(scratch, inner + i, F(0)), like)
