"""Adapters with random weights, as large as trained ones. They serve to measure cost; what they say does not matter."""

from __future__ import annotations

import json

import numpy as np
from safetensors.numpy import save

from chatbot.engine.compute.lora import ATTENTION, FEED_FORWARD, is_feed_forward, module_sizes
from chatbot.engine.compute.weights import ModelShape
from shoptalk.models.adapterfile import AdapterFiles


def random_adapter(shape: ModelShape, seed: int, rank: int = 16, scale: float = 0.01) -> AdapterFiles:
    """Return an adapter on all linear layers, in float32, in peft's format."""
    draw, tensors = np.random.default_rng(seed), {}
    for layer in range(shape.layers):
        for name, (columns, outs) in module_sizes(shape).items():
            part = FEED_FORWARD if is_feed_forward(name) else ATTENTION
            path = f"base_model.model.model.layers.{layer}.{part}.{name}.lora_{{}}.weight"
            tensors[path.format("A")] = (draw.normal(size=(rank, columns)) * scale).astype(np.float32)
            tensors[path.format("B")] = (draw.normal(size=(outs, rank)) * scale).astype(np.float32)
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": 2 * rank, "lora_dropout": 0.0,
        "bias": "none", "target_modules": list(module_sizes(shape)),
    }  # fmt: skip
    return AdapterFiles(json.dumps(config).encode(), save(tensors, metadata={"format": "pt"}))
