"""Adapters with random weights, as large as trained ones: what they say does not matter, what they cost does."""

from __future__ import annotations

import json

import numpy as np
from safetensors.numpy import save

from chatbot.engine.compute.lora import ATTENTION, FEED_FORWARD, is_feed_forward, sizes
from chatbot.engine.compute.weights import Shape
from shoptalk.models.adapterfile import AdapterFiles


def random_adapter(shape: Shape, seed: int, rank: int = 16, scale: float = 0.01) -> AdapterFiles:
    """On all linear layers, in float32, as peft saves them."""
    draw, tensors = np.random.default_rng(seed), {}
    for layer in range(shape.layers):
        for name, (columns, outs) in sizes(shape).items():
            part = FEED_FORWARD if is_feed_forward(name) else ATTENTION
            path = f"base_model.model.model.layers.{layer}.{part}.{name}.lora_{{}}.weight"
            tensors[path.format("A")] = (draw.normal(size=(rank, columns)) * scale).astype(np.float32)
            tensors[path.format("B")] = (draw.normal(size=(outs, rank)) * scale).astype(np.float32)
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": 2 * rank, "lora_dropout": 0.0,
        "bias": "none", "target_modules": list(sizes(shape)),
    }  # fmt: skip
    return AdapterFiles(json.dumps(config).encode(), save(tensors, metadata={"format": "pt"}))
