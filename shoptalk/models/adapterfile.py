"""An adapter's two files, as peft writes them, and the checks that they must pass before anything reads them.

Checks the configuration against an allow-list and the safetensors header (names, shapes, dtypes, extents)
without loading a tensor; knows neither the store nor the model. Format: the safetensors README's layout, an
8-byte little-endian header length, a JSON header, then the data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shoptalk.errors import AdapterRefused

MAX_BYTES = 512 * 2**20
MAX_HEADER = 4 * 2**20
MAX_RANK = 2**16
DTYPES = {"F32": 4, "BF16": 2, "F16": 2}
# the linear layers of a decoder layer that an adapter may change; serving lays them out in this order
TARGET_MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
TENSOR = re.compile(r"^base_model\.model\.(model\.layers\.\d+\.[a-z_]+\.([a-z_]+))\.lora_([AB])\.weight\Z")
# What would change the mathematics beyond y + scale * B A x must be off.
MUST_BE_FALSY = (
    "use_dora", "modules_to_save", "fan_in_fan_out", "layers_pattern", "rank_pattern", "alpha_pattern",
    "megatron_config", "trainable_token_indices", "loftq_config", "eva_config", "corda_config", "use_qalora",
    "layer_replication", "lora_bias", "target_parameters", "auto_mapping", "exclude_modules", "arrow_config",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class AdapterFiles:
    """An adapter's files: adapter_config.json, adapter_model.safetensors and, where it is known, a digest of both."""

    config: bytes
    weights: bytes
    digest: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a tensor is in the weights file: from byte `start` on, in a safetensors dtype, of shape [rows, columns]."""

    dtype: str
    shape: tuple[int, int]
    start: int


@dataclass(frozen=True, slots=True)
class AdapterFacts:
    """The contents of verified files. `modules` maps each adapted Linear to (in, out) features."""

    rank: int
    scaling: float
    modules: Mapping[str, tuple[int, int]]
    tensors: Mapping[str, Extent]


def verify(files: AdapterFiles, *, max_rank: int | None = None) -> AdapterFacts:
    """Check both files and return their contents; raise AdapterRefused naming the file and what is wrong with it."""
    rank, scaling, targets = _config(files.config)
    if max_rank is not None and rank > max_rank:
        raise AdapterRefused(f"adapter_config.json: rank {rank} is over the limit of {max_rank} (SHOPTALK_MAX_RANK)")
    shapes: dict[str, dict[str, tuple[int, int]]] = {}
    tensors = _header(files.weights)
    for name, extent in tensors.items():
        match = TENSOR.match(name)
        if match is None or match[2] not in targets:
            raise AdapterRefused(f"adapter_model.safetensors: unexpected tensor '{name[:120]}'")
        shapes.setdefault(match[1], {})[match[3]] = extent.shape
    modules: dict[str, tuple[int, int]] = {}
    for module, parts in shapes.items():
        if set(parts) != {"A", "B"} or parts["A"][0] != rank or parts["B"][1] != rank:
            raise AdapterRefused(
                f"adapter_model.safetensors: {module} does not have A [{rank}, in] and B [out, {rank}]"
            )
        modules[module] = (parts["A"][1], parts["B"][0])
    if not modules:
        raise AdapterRefused("adapter_model.safetensors: no LoRA tensors")
    return AdapterFacts(rank, scaling, modules, tensors)


def _config(data: bytes) -> tuple[int, float, frozenset[str]]:
    try:
        config = json.loads(data)
    except (ValueError, RecursionError):
        raise AdapterRefused("adapter_config.json: not JSON") from None
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise AdapterRefused("adapter_config.json: peft_type must be LORA")
    for key in MUST_BE_FALSY:
        if config.get(key):
            raise AdapterRefused(f"adapter_config.json: {key} is not supported")
    if config.get("bias", "none") != "none":
        raise AdapterRefused("adapter_config.json: bias must be 'none'")
    rank: Any = config.get("r")
    alpha: Any = config.get("lora_alpha")
    plain = type(rank) is int and type(alpha) in (int, float)  # a bool is an int too, but no rank
    if not plain or not 1 <= rank <= MAX_RANK or not abs(alpha) < 1e9:
        raise AdapterRefused("adapter_config.json: r and lora_alpha must be numbers")
    targets = config.get("target_modules")
    if (
        not isinstance(targets, list)
        or not targets
        or not all(isinstance(t, str) and t in TARGET_MODULES for t in targets)
    ):
        raise AdapterRefused(f"adapter_config.json: target_modules must be among {', '.join(sorted(TARGET_MODULES))}")
    divisor = rank**0.5 if config.get("use_rslora") else rank
    return rank, float(alpha) / divisor, frozenset(targets)


def _header(data: bytes) -> dict[str, Extent]:
    """Return each tensor's extent; together they must cover the data exactly, without overlap."""
    what = "adapter_model.safetensors"
    if len(data) > MAX_BYTES:
        raise AdapterRefused(f"{what}: {len(data)} bytes are over the limit of {MAX_BYTES}")
    length = int.from_bytes(data[:8], "little") if len(data) >= 8 else 0
    if not 2 <= length <= min(MAX_HEADER, len(data) - 8):
        raise AdapterRefused(f"{what}: not a safetensors file")
    try:
        header: dict[str, Any] = json.loads(data[8 : 8 + length])
        header.pop("__metadata__", None)
        found = sorted((*e["data_offsets"], name, e["dtype"], *e["shape"]) for name, e in header.items())
        extents: dict[str, Extent] = {}
        position = 0
        for start, end, name, dtype, rows, columns in found:
            whole = all(type(n) is int and n >= 0 for n in (start, end, rows, columns))
            if not whole or start != position or end - start != rows * columns * DTYPES[dtype]:
                raise AdapterRefused(f"{what}: tensor '{name[:120]}' has wrong extents")
            extents[name], position = Extent(dtype, (rows, columns), 8 + length + start), end
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise AdapterRefused(f"{what}: the header is not valid") from None
    if position != len(data) - 8 - length:
        raise AdapterRefused(f"{what}: {len(data) - 8 - length - position} bytes belong to no tensor")
    return extents
