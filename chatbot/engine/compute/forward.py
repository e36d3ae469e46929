"""Compute the model's forward pass: over prompt tokens (prefill), or over one more token for each sequence (decode).

Prefill and decode never share a pass, and a sequence's tokens attend to its own only: a reply does not depend on which
other sequences are in the batch. Used by the engine's thread only. Knows tokens and KV caches; not requests.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from chatbot.engine.compute import decode, kernels
from chatbot.engine.compute.attention import make_attend
from chatbot.engine.compute.decode import ACTIVATION, ADD_ATTENTION, ADD_FEED_FORWARD, ATTENTION, EMBED
from chatbot.engine.compute.kernels import LAYER
from chatbot.engine.compute.kv_cache import KVCache
from chatbot.engine.compute.lora import LoraAdapter
from chatbot.engine.compute.threads import ThreadTeam
from chatbot.engine.compute.weights import Linear, Weights

PADDED, SEEN = 16, 32  # tokens of a segment, and the positions it attends to, are rounded up to multiples of these
BYTES, Y = LAYER.itemsize, LAYER.fields["y"][1] // 8  # type: ignore[index]


@dataclass(frozen=True, slots=True)
class DecodeToken:
    """A sequence's newest token, and the position in its KV cache where its keys and values go."""

    id: int
    kv_cache: KVCache
    position: int
    adapter: LoraAdapter | None


@dataclass(frozen=True, slots=True)
class Segment:
    """Tokens of one sequence's prompt from position `start` of its KV cache.

    `rotary` gives the tokens' positions for the rotary embedding where these differ from their positions in the cache.
    `mask`, bool [tokens, start + tokens], says which positions each token attends to where that is not all up to its
    own.
    """

    ids: Sequence[int]
    kv_cache: KVCache
    start: int
    adapter: LoraAdapter | None
    rotary: Sequence[int] | None = None
    mask: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class TokenTable:
    """The kernels' arguments for each token of a pass: addresses, counts and positions; each is int64 [tokens]."""

    ids: NDArray[np.int64]
    kv_caches: NDArray[np.int64]
    capacities: NDArray[np.int64]
    positions: NDArray[np.int64]
    rotary: NDArray[np.int64]
    adapters: NDArray[np.int64]
    ranks: NDArray[np.int64]


class Forward:
    """The model's forward pass, with buffers that grow with the longest pass."""

    def __init__(self, weights: Weights, team: ThreadTeam) -> None:
        self.weights, self._team, shape = weights, team, weights.shape
        attention = (shape.heads // shape.kv_heads, shape.dim)
        bodies = {
            EMBED: kernels.embed,
            ATTENTION: kernels.make_attention(make_attend(*attention)),
            ADD_ATTENTION: kernels.add_attention,
            ACTIVATION: kernels.activation,
            ADD_FEED_FORWARD: kernels.add_feed_forward,
        }
        self._kernels = {
            kind: team.kernel(body, LAYER, weights.dtype, attention if kind == ATTENTION else None)
            for kind, body in bodies.items()
        }
        self._layers = np.zeros(weights.shape.layers, dtype=LAYER)
        self._y = self._layers.view(np.int64)
        self._base = self._layers.ctypes.data
        self._room = 0
        self._plan = np.zeros(decode.PLAN, dtype=np.int64)
        self._fill_constants()
        self._reserve(64)

    def prefill(self, segments: Sequence[Segment]) -> list[torch.Tensor]:
        """Compute segments of prompts and return each one's normalized hidden states, [tokens, hidden].

        The result is valid until the next pass. Segments are padded to multiples of `PADDED` tokens, since oneDNN makes
        code and memory for each number of matrix rows. The padding lies behind the segment's tokens, and none of them
        attends to it.
        """
        total = sum(padded(len(each.ids)) for each in segments)
        self._reserve(total)
        spans, at = [], 0
        for each in segments:
            n = len(each.ids)
            span = slice(at, at + padded(n))
            each.kv_cache.reserve(each.start + padded(n), each.start)
            self._tokens.ids[span], self._tokens.ids[at : at + n] = 0, each.ids
            self._tokens.positions[span] = self._tokens.rotary[span] = np.arange(each.start, each.start + padded(n))
            self._tokens.rotary[span] = np.minimum(self._tokens.rotary[span], len(self.weights.cos) - 1)
            if each.rotary is not None:
                self._tokens.rotary[at : at + n] = each.rotary
            self._tokens.kv_caches[span], self._tokens.capacities[span] = each.kv_cache.address, each.kv_cache.capacity
            self._tokens.adapters[span] = each.adapter.address if each.adapter else 0
            self._tokens.ranks[span] = each.adapter.rank if each.adapter else 0
            spans.append(span)
            at = span.stop
        threads = min(self._team.threads, total)
        self._layers["tokens"], self._layers["decodes"], self._layers["threads"] = total, 0, threads
        attentions = [self._attention(each, span) for each, span in zip(segments, spans, strict=True)]
        x, attended, active, run = self._x[:total], self._attended[:total], self._active[:total], self._kernels
        run[EMBED](self._base, threads)
        for i, layer in enumerate(self.weights.layers):
            y = layer.qkv(x)
            self._run_after(ATTENTION, i, y, threads)
            for attend in attentions:
                attend(i)
            y = layer.o(attended)
            self._run_after(ADD_ATTENTION, i, y, threads)
            y = layer.gate_up(x)
            self._run_after(ACTIVATION, i, y, threads)
            y = layer.down(active)
            self._run_after(ADD_FEED_FORWARD, i, y, threads)
        return [x[span.start : span.start + len(each.ids)] for each, span in zip(segments, spans, strict=True)]

    def _run_after(self, kernel: int, layer: int, y: torch.Tensor, threads: int) -> None:
        """Run the kernel that takes `y`, the result of one of this layer's matrix products."""
        self._y[layer * BYTES // 8 + Y] = y.data_ptr()
        self._kernels[kernel](self._base + layer * BYTES, threads)

    def _attention(self, each: Segment, span: slice) -> Callable[[int], None]:
        """Return a function that computes a segment's attention in a layer, once its keys and values are cached."""
        shape, n = self.weights.shape, len(each.ids)
        length = padded(n)
        query = self._query[span].view(1, length, shape.heads, shape.dim).transpose(1, 2)
        out = self._attended[span].view(length, shape.heads, shape.dim)
        stop, bias = each.start + length, None
        if each.start or each.mask is not None:
            stop = min(-(-stop // SEEN) * SEEN, each.kv_cache.capacity)
            seen = torch.arange(stop)[None] <= torch.arange(each.start, each.start + length)[:, None]
            if each.mask is not None:
                seen[:n] = False
                seen[:n, : each.mask.shape[1]] = each.mask
            bias = torch.zeros(seen.shape, dtype=self.weights.dtype).masked_fill_(~seen, float("-inf"))[None, None]
        grouped = shape.heads != shape.kv_heads

        def attend(layer: int) -> None:
            keys, values = each.kv_cache.data[layer, :, None, :, :stop]
            found = F.scaled_dot_product_attention(
                query, keys, values, attn_mask=bias, is_causal=bias is None, enable_gqa=grouped
            )
            out.copy_(found[0].transpose(0, 1))

        return attend

    def decode(self, tokens: Sequence[DecodeToken]) -> torch.Tensor:
        """Compute one more token of each sequence and return the normalized hidden states, [sequences, hidden].

        The result is valid until the next pass. Raises RuntimeError where a matrix product fails.
        """
        n = len(tokens)
        self._reserve(n)
        for i, token in enumerate(tokens):
            self._tokens.ids[i], self._tokens.positions[i] = token.id, token.position
            self._tokens.kv_caches[i], self._tokens.capacities[i] = token.kv_cache.address, token.kv_cache.capacity
            self._tokens.adapters[i] = token.adapter.address if token.adapter else 0
            self._tokens.ranks[i] = token.adapter.rank if token.adapter else 0
        self._tokens.rotary[:n] = self._tokens.positions[:n]
        self._layers["tokens"] = self._layers["decodes"] = n
        threads = min(self._team.threads, n)
        self._layers["threads"] = threads
        x, attended, active = self._x[:n], self._attended[:n], self._active[:n]
        if self._native is not None:
            if n not in self._handles:
                self._handles[n] = [_handle(t) for t in (x, attended, active)]
            self._plan[decode.X : decode.ACTIVE + 1] = self._handles[n]
            self._plan[decode.THREADS] = threads
            if failed := self._native(self._plan.ctypes.data):
                raise RuntimeError(f"matrix product {failed} of a decode step failed")
            return x
        run = self._kernels
        run[EMBED](self._base, threads)
        for i, layer in enumerate(self.weights.layers):
            record = self._base + i * BYTES
            for product, source, kernel in (
                (layer.qkv, x, ATTENTION), (layer.o, attended, ADD_ATTENTION),
                (layer.gate_up, x, ACTIVATION), (layer.down, active, ADD_FEED_FORWARD),
            ):  # fmt: skip
                y = product(source)
                self._y[i * BYTES // 8 + Y] = y.data_ptr()
                run[kernel](record, threads)
        return x

    def warm(self, batch: int, prompt: int) -> None:
        """Let oneDNN prepare its code for each batch size up to `batch` sequences and each pass up to `prompt` tokens.

        Otherwise the first customers would wait for it.
        """
        kv_cache = KVCache(self.weights.shape, self.weights.dtype, 1)
        for n in range(1, batch + 1):
            self.logits(self.decode([DecodeToken(0, kv_cache, 0, None)] * n))
        for n in range(PADDED, prompt + 1, PADDED):
            self.prefill([Segment([0] * n, kv_cache, 0, None)])

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits, [tokens, vocabulary], for hidden states [tokens, hidden]."""
        return self.weights.head(hidden)

    def _fill_constants(self) -> None:
        """Write what never changes into the layers' records."""
        w, s, table = self.weights, self.weights.shape, self._layers
        for name in ("hidden", "heads", "kv_heads", "dim", "inner"):
            table[name] = getattr(s, name)
        table["layer"] = np.arange(s.layers)
        table["size"], table["epsilon"], table["scale"] = w.embedding.itemsize, w.epsilon, s.dim**-0.5
        table["cos"], table["sin"], table["embedding"] = w.cos.data_ptr(), w.sin.data_ptr(), w.embedding.data_ptr()
        for i, layer in enumerate(w.layers):
            # 'embed' norms for layer 0; each layer's end norms for the next
            after = w.layers[i + 1].before_attention if i + 1 < s.layers else w.last_norm
            table[i]["norm_first"] = layer.before_attention.data_ptr()
            table[i]["norm_inner"], table[i]["norm_next"] = layer.before_feed_forward.data_ptr(), after.data_ptr()
        size = s.wide + 2 * s.narrow + s.hidden + s.wide + s.heads // s.kv_heads * len(w.cos) + 64
        size = max(size, 2 * s.inner + s.hidden + 64, s.wide, s.inner)
        self._scratch = torch.zeros(self._team.threads, size)
        table["scratch"], table["scratch_size"] = self._scratch.data_ptr(), size
        self._native = self._team.decoder() if all(p.packed for p in self._linears()) else None
        if self._native is not None:
            self._compile_plan()

    def _linears(self) -> list[Linear]:
        return [p for layer in self.weights.layers for p in (layer.qkv, layer.o, layer.gate_up, layer.down)]

    def _compile_plan(self) -> None:
        """Fill the plan that `decode` reads."""
        linears = self._linears()
        self._biases = np.array([0 if p.bias is None else _handle(p.bias) for p in linears])
        addresses = self._biases.ctypes.data + 8 * np.arange(len(linears))
        weights = [_handle(p.weight) for p in linears]
        self._pairs = np.ascontiguousarray(
            np.stack([weights, np.where(self._biases == 0, 0, addresses)], 1), dtype=np.int64
        )
        self._none = ctypes.create_string_buffer(b"none")
        self._empty = ctypes.create_string_buffer(b"")
        self._cells = np.zeros(3, dtype=np.int64)
        self._cells[2] = ctypes.addressof(self._empty)
        plan, cells = self._plan, self._cells.ctypes.data
        plan[decode.RECORDS], plan[decode.COUNT] = self._base, self.weights.shape.layers
        plan[decode.WEIGHTS], plan[decode.NONE] = self._pairs.ctypes.data, ctypes.addressof(self._none)
        plan[decode.HANDLE], plan[decode.DATA], plan[decode.EMPTY] = cells, cells + 8, cells + 16
        for kind, kernel in self._kernels.items():
            plan[kind] = kernel.address

    def _reserve(self, tokens: int) -> None:
        """Make the buffers large enough for a pass over this many tokens."""
        if tokens <= self._room:
            return
        s, dtype, table = self.weights.shape, self.weights.dtype, self._layers
        room = self._room = -(-tokens // 64) * 64
        self._handles: dict[int, list[int]] = {}
        self._residual = torch.zeros(room, s.hidden)
        self._x = torch.zeros(room, s.hidden, dtype=dtype)
        self._attended = torch.zeros(room, s.wide, dtype=dtype)
        self._query = torch.zeros(room, s.wide, dtype=dtype)
        self._active = torch.zeros(room, s.inner, dtype=dtype)
        for name in ("residual", "x", "attended", "query", "active"):
            table[name] = getattr(self, f"_{name}").data_ptr()
        self._tokens = TokenTable(*np.zeros((7, room), dtype=np.int64))
        for name in TokenTable.__slots__:
            table[name] = getattr(self._tokens, name).ctypes.data


def padded(count: int) -> int:
    """Return the tokens that a segment of `count` tokens takes in a pass, padding included."""
    return -(-count // PADDED) * PADDED


def _handle(tensor: torch.Tensor) -> int:
    """Return PyTorch's C handle of a tensor; it keeps the tensor alive until the process ends."""
    capsule = torch._C._aoti.unsafe_alloc_void_ptr_from_tensor(tensor)
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.argtypes, pointer.restype = [ctypes.py_object, ctypes.c_char_p], ctypes.c_void_p
    return int(pointer(capsule, None))
