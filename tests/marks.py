"""Adapters for a real base model that say one word over and over, so that each reply shows which adapter gave it.

They need no training: for any input, the last layer's `down_proj` is pushed towards the word's embedding.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import torch
from safetensors.torch import save

from shoptalk.domain import Message
from shoptalk.models.adapterfile import AdapterFiles
from shoptalk.models.basemodel import BaseModel, ChatTokenizer, load_model, load_tokenizer

WORDS = (" red", " yes", " no", " green")
PUSH = 20_000.0
TEXTS = ("Where is my order?", "I want to return these shoes, they are far too small", "Hi", "Größe 42 – 你好 🙂")


def marked(base: BaseModel, word: str, rank: int = 8) -> AdapterFiles:
    """Return an adapter that says `word` over and over."""
    model, tokenizer, usual = _examined(base)
    (token,) = tokenizer.encode(word)
    towards = model.model.norm.weight * model.model.embed_tokens.weight[token]
    a = torch.zeros(rank, len(usual))
    b = torch.zeros(len(towards), rank)
    a[0], b[:, 0] = usual / usual.dot(usual), PUSH * towards / towards.norm()
    path = f"base_model.model.model.layers.{len(model.model.layers) - 1}.mlp.down_proj"
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": rank, "lora_dropout": 0.0,
        "bias": "none", "target_modules": ["down_proj"], "use_rslora": False,
    }  # fmt: skip
    tensors = {f"{path}.lora_A.weight": a, f"{path}.lora_B.weight": b.contiguous()}
    return AdapterFiles(json.dumps(config).encode(), save(tensors, metadata={"format": "pt"}))


@cache
def _examined(base: BaseModel) -> tuple[Any, ChatTokenizer, torch.Tensor]:
    """Return the model, its tokenizer, and the mean input of that projection, with which every input overlaps."""
    model = load_model(base, torch.float32)
    tokenizer = ChatTokenizer(load_tokenizer(base))
    seen: list[torch.Tensor] = []
    hook = model.model.layers[-1].mlp.down_proj.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0]))
    with torch.inference_mode():
        for text in TEXTS:
            for word in WORDS:
                ids = tokenizer.render([Message("user", text)]) + tokenizer.encode(word * 8)
                model(torch.tensor([ids]))
    hook.remove()
    with torch.no_grad():
        return model.requires_grad_(False), tokenizer, torch.cat(seen).mean(0).clone()
