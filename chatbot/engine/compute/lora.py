"""LoRA adapters ready for serving: each a block of memory of its own, laid out as the kernels read it.

A row computes with the adapter it points to, so one batch mixes any adapters of any rank (the idea of gathering each
row's own low-rank factors: Chen et al. 2023, "Punica", arXiv:2310.18547). Knows neither requests nor slots.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from chatbot.engine.compute.pack import JOB, NOTHING_BAD, Copies
from chatbot.engine.compute.weights import Shape
from shoptalk.errors import AdapterRefused
from shoptalk.models.adapterfile import AdapterFiles, Extent, verify

ATTENTION, FEED_FORWARD = "self_attn", "mlp"
# in the order of the kernels' block: all A, then all B
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
PATH = "base_model.model.{}.lora_{}.weight"


def sizes(shape: Shape) -> Mapping[str, tuple[int, int]]:
    """(in, out) of each module."""
    h, w, n, i = shape.hidden, shape.wide, shape.narrow, shape.inner
    return dict(zip(MODULES, ((h, w), (h, n), (h, n), (w, h), (h, i), (h, i), (i, h)), strict=True))


@dataclass(frozen=True)
class Adapter:
    """`data` is [layers, elements]; the scaling is in B. `key` is the SHA-256 of its files."""

    key: str
    rank: int
    shape: Shape
    data: torch.Tensor

    @cached_property
    def address(self) -> int:
        return int(self.data.data_ptr())


def read_adapter(
    files: AdapterFiles, shape: Shape, dtype: torch.dtype, max_rank: int, copies: Copies
) -> Adapter:  # fmt: skip
    """Verify both files against the base model and lay the weights out; raises AdapterRefused."""
    facts = verify(files, max_rank=max_rank)
    table = sizes(shape)
    places = {}
    for layer in range(shape.layers):
        for name in MODULES:
            places[f"model.layers.{layer}.{FEED_FORWARD if is_feed_forward(name) else ATTENTION}.{name}"] = (
                layer,
                name,
            )
    for path, size in facts.modules.items():
        if path not in places or table[places[path][1]] != size:
            raise AdapterRefused(f"adapter_model.safetensors: {path} does not fit the base model")
    width = facts.rank * sum(columns + outs for columns, outs in table.values())
    partial = len(facts.modules) < len(places)
    data = (torch.zeros if partial else torch.empty)(shape.layers, width, dtype=dtype)
    key = files.digest or hashlib.sha256(files.config + files.weights).hexdigest()
    made = Adapter(key, facts.rank, shape, data)
    held = np.frombuffer(files.weights, dtype=np.uint8)
    jobs: dict[Any, list[tuple[Any, ...]]] = {np.float32: [], np.uint16: []}
    names: dict[Any, list[str]] = {np.float32: [], np.uint16: []}
    kept = []  # what must live as long as the addresses are used
    for path in facts.modules:
        layer, name = places[path]
        block = made.address + layer * width * dtype.itemsize
        for part, target in zip("AB", _targets(block, name, facts.rank, table, dtype.itemsize), strict=True):
            tensor = PATH.format(path, part)
            source, kind, owner = _source(held, facts.tensors[tensor])
            columns, outs = table[name]
            # A as it is, which is one long row the other way round; B transposed and scaled
            size = (facts.rank * columns, 1) if part == "A" else (outs, facts.rank)
            jobs[kind].append((source, *size, target, 1.0 if part == "A" else facts.scaling))
            names[kind].append(tensor)
            kept.append(owner)
    for kind, each in jobs.items():
        bad = copies(np.array(each, dtype=JOB), kind)
        if bad != NOTHING_BAD:
            raise AdapterRefused(f"adapter_model.safetensors: '{names[kind][bad]}' has values that are not finite")
    return made


def is_feed_forward(name: str) -> bool:
    """Whether a module is of the feed-forward part."""
    return name in ("gate_proj", "up_proj", "down_proj")


def _targets(
    block: int, name: str, rank: int, table: Mapping[str, tuple[int, int]], size: int
) -> tuple[int, int]:  # fmt: skip
    """Where a module's A and B go in a layer's block: all A come first, then all B."""
    before = MODULES[: MODULES.index(name)]
    a = sum(table[m][0] for m in before)
    b = sum(columns for columns, _ in table.values()) + sum(table[m][1] for m in before)
    return block + size * rank * a, block + size * rank * b


def _source(held: NDArray[np.uint8], extent: Extent) -> tuple[int, Any, object]:
    """A tensor's address, its elements' kind, and what must live as long as the address is used."""
    if extent.dtype == "F16":
        rows, columns = extent.shape
        wide = held[extent.start : extent.start + 2 * rows * columns].view(np.float16).astype(np.float32)
        return int(wide.ctypes.data), np.float32, wide
    return int(held.ctypes.data) + extent.start, np.uint16 if extent.dtype == "BF16" else np.float32, held
