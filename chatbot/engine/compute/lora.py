"""LoRA adapters ready for serving: each a block of memory of its own, laid out as the kernels read it.

A sequence computes with the adapter it points to, so one batch mixes any adapters of any rank (the idea of gathering
each sequence's own low-rank factors: Chen et al. 2023, "Punica", arXiv:2310.18547). Knows neither requests nor slots.
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

from chatbot.engine.compute.pack import COPY, NOTHING_BAD, TensorCopier
from chatbot.engine.compute.weights import ModelShape
from shoptalk.errors import AdapterRefused
from shoptalk.models.adapterfile import TARGET_MODULES, AdapterFiles, Extent, verify

ATTENTION, FEED_FORWARD = "self_attn", "mlp"
PATH = "base_model.model.{}.lora_{}.weight"


def module_sizes(shape: ModelShape) -> Mapping[str, tuple[int, int]]:
    """Return (in, out) features of each target module, in the order of the kernels' block."""
    h, w, n, i = shape.hidden, shape.wide, shape.narrow, shape.inner
    return dict(zip(TARGET_MODULES, ((h, w), (h, n), (h, n), (w, h), (h, i), (h, i), (i, h)), strict=True))


@dataclass(frozen=True)
class LoraAdapter:
    """An adapter's weights in memory.

    `data` is [layers, elements]: each layer's block is all A, then all B, in the order of TARGET_MODULES; B is
    transposed and multiplied by the scaling. `key` is the SHA-256 of the adapter's files.
    """

    key: str
    rank: int
    shape: ModelShape
    data: torch.Tensor

    @cached_property
    def address(self) -> int:
        return int(self.data.data_ptr())


def read_adapter(
    files: AdapterFiles, shape: ModelShape, dtype: torch.dtype, max_rank: int, copier: TensorCopier
) -> LoraAdapter:  # fmt: skip
    """Verify both files against the base model and lay the weights out. Raises AdapterRefused."""
    facts = verify(files, max_rank=max_rank)
    table = module_sizes(shape)
    modules = _modules(shape)
    for path, size in facts.modules.items():
        if path not in modules or table[modules[path][1]] != size:
            raise AdapterRefused(f"adapter_model.safetensors: {path} does not fit the base model")
    width = facts.rank * sum(columns + outs for columns, outs in table.values())
    partial = len(facts.modules) < len(modules)
    data = (torch.zeros if partial else torch.empty)(shape.layers, width, dtype=dtype)
    key = files.digest or hashlib.sha256(files.config + files.weights).hexdigest()
    made = LoraAdapter(key, facts.rank, shape, data)
    held = np.frombuffer(files.weights, dtype=np.uint8)
    copies: dict[Any, list[tuple[Any, ...]]] = {np.float32: [], np.uint16: []}
    names: dict[Any, list[str]] = {np.float32: [], np.uint16: []}
    owners = []  # must live as long as the addresses are used
    for path in facts.modules:
        layer, name = modules[path]
        block = made.address + layer * width * dtype.itemsize
        for part, target in zip("AB", _targets(block, name, facts.rank, table, dtype.itemsize), strict=True):
            tensor = PATH.format(path, part)
            source, kind, owner = _source(held, facts.tensors[tensor])
            columns, outs = table[name]
            # A as it is: transposing it as one column changes nothing; B transposed and scaled
            size = (facts.rank * columns, 1) if part == "A" else (outs, facts.rank)
            copies[kind].append((source, *size, target, 1.0 if part == "A" else facts.scaling))
            names[kind].append(tensor)
            owners.append(owner)
    for kind, each in copies.items():
        bad = copier(np.array(each, dtype=COPY), kind)
        if bad != NOTHING_BAD:
            raise AdapterRefused(f"adapter_model.safetensors: '{names[kind][bad]}' has values that are not finite")
    return made


def is_feed_forward(name: str) -> bool:
    """Return whether a module belongs to the feed-forward part."""
    return name in ("gate_proj", "up_proj", "down_proj")


def _modules(shape: ModelShape) -> Mapping[str, tuple[int, str]]:
    """Return (layer, name) of each module that an adapter may change, by its path in the model."""
    parts = {name: FEED_FORWARD if is_feed_forward(name) else ATTENTION for name in TARGET_MODULES}
    return {
        f"model.layers.{layer}.{part}.{name}": (layer, name)
        for layer in range(shape.layers)
        for name, part in parts.items()
    }


def _targets(
    block: int, name: str, rank: int, table: Mapping[str, tuple[int, int]], size: int
) -> tuple[int, int]:  # fmt: skip
    """Return the addresses of a module's A and B in a layer's block: all A come first, then all B."""
    before = TARGET_MODULES[: TARGET_MODULES.index(name)]
    a = sum(table[m][0] for m in before)
    b = sum(columns for columns, _ in table.values()) + sum(table[m][1] for m in before)
    return block + size * rank * a, block + size * rank * b


def _source(held: NDArray[np.uint8], extent: Extent) -> tuple[int, Any, object]:
    """Return a tensor's address, its elements' NumPy type, and the object that owns the memory at the address."""
    if extent.dtype == "F16":
        rows, columns = extent.shape
        wide = held[extent.start : extent.start + 2 * rows * columns].view(np.float16).astype(np.float32)
        return int(wide.ctypes.data), np.float32, wide
    return int(held.ctypes.data) + extent.start, np.uint16 if extent.dtype == "BF16" else np.float32, held
