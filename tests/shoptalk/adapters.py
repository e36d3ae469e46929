"""Random LoRA adapters in peft's format, for the tiny model of `tests.conftest`."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from safetensors.numpy import save

from shoptalk.models.adapterfile import AdapterFiles

HIDDEN, KEYS, INNER, LAYERS = 64, 32, 128, 2
SHAPES = {  # (in, out)
    "self_attn.q_proj": (HIDDEN, HIDDEN), "self_attn.k_proj": (HIDDEN, KEYS), "self_attn.v_proj": (HIDDEN, KEYS),
    "self_attn.o_proj": (HIDDEN, HIDDEN), "mlp.gate_proj": (HIDDEN, INNER), "mlp.up_proj": (HIDDEN, INNER),
    "mlp.down_proj": (INNER, HIDDEN),
}  # fmt: skip


def config(rank: int = 4, **changes: Any) -> bytes:
    """adapter_config.json."""
    targets = sorted(name.split(".")[1] for name in SHAPES)
    plain = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": 2 * rank, "lora_dropout": 0.0,
        "bias": "none", "target_modules": targets, "use_rslora": False,
    }  # fmt: skip
    return json.dumps({**plain, **changes}).encode()


def weights(seed: int = 0, rank: int = 4, scale: float = 0.5, layers: int = LAYERS) -> bytes:
    """adapter_model.safetensors, float32."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for layer in range(layers):
        for name, (columns, rows) in SHAPES.items():
            path = f"base_model.model.model.layers.{layer}.{name}"
            tensors[f"{path}.lora_A.weight"] = _normal(rng, (rank, columns), scale)
            tensors[f"{path}.lora_B.weight"] = _normal(rng, (rows, rank), scale)
    return save(tensors, metadata={"format": "pt"})


def adapter(seed: int = 0, rank: int = 4, scale: float = 0.5, **changes: Any) -> AdapterFiles:
    """Both files; different seeds answer differently."""
    return AdapterFiles(config(rank, **changes), weights(seed, rank, scale))


def _normal(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> Any:
    return (rng.normal(size=shape) * scale).astype(np.float32)
