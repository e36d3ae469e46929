"""The base model's weights, laid out for serving: linear layers that share an input joined, packed where oneDNN can.

Takes decoders of the Llama family as transformers loads them. Knows neither adapters nor requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from shoptalk.errors import ConfigurationError
from shoptalk.models.basemodel import BaseModel, load_model

FAMILY = ("llama", "mistral", "qwen2")
PACKED_FOR = 8  # tokens; oneDNN chooses the layout by it


class Linear:
    """Linear layers that share an input, as one: y = x Wᵀ + b."""

    def __init__(self, *parts: nn.Linear) -> None:
        weight = torch.cat([p.weight.detach() for p in parts])
        biases = [torch.zeros(len(p.weight), dtype=weight.dtype) if p.bias is None else p.bias.detach() for p in parts]
        self.bias = None if all(p.bias is None for p in parts) else torch.cat(biases)
        self.packed = _packs(weight.dtype)
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, PACKED_FOR) if self.packed else weight

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Map `x`, [tokens, in], to [tokens, out]."""
        if self.packed:
            out: torch.Tensor = torch.ops.mkldnn._linear_pointwise.default(x, self.weight, self.bias, "none", [], "")
            return out
        return nn.functional.linear(x, self.weight, self.bias)


def _packs(dtype: torch.dtype) -> bool:
    """Return whether oneDNN is there and computes in this type on this processor."""
    if not torch.backends.mkldnn.is_available():
        return False
    return dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The model's sizes, in elements; `wide` is the width of all query heads, `narrow` that of all key heads."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    dim: int
    inner: int
    vocabulary: int

    @property
    def wide(self) -> int:
        return self.heads * self.dim

    @property
    def narrow(self) -> int:
        return self.kv_heads * self.dim


@dataclass(frozen=True, slots=True)
class DecoderLayer:
    """One decoder layer's weights."""

    before_attention: torch.Tensor  # weights of the norm, [hidden]; so is before_feed_forward
    qkv: Linear
    o: Linear
    before_feed_forward: torch.Tensor
    gate_up: Linear
    down: Linear


@dataclass(frozen=True, slots=True)
class Weights:
    """All weights of the model.

    `embedding` and `head_weight` are [vocabulary, hidden]; `cos` and `sin`, of the rotary position embedding, are
    float32 [positions, dim / 2].
    """

    shape: ModelShape
    dtype: torch.dtype
    epsilon: float
    embedding: torch.Tensor
    layers: tuple[DecoderLayer, ...]
    last_norm: torch.Tensor
    head: Linear
    head_weight: torch.Tensor
    cos: torch.Tensor
    sin: torch.Tensor


def load_shape(base: BaseModel) -> ModelShape:
    """Read the model's sizes from its configuration. Raises ConfigurationError for one this engine cannot compute."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(base.folder, local_files_only=True)
    _check(base, config)
    return ModelShape(
        config.num_hidden_layers, config.hidden_size, config.num_attention_heads, config.num_key_value_heads,
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
        config.intermediate_size, config.vocab_size,
    )  # fmt: skip


def load_weights(base: BaseModel, dtype: torch.dtype, positions: int) -> Weights:
    """Load the model's weights; `positions` is the longest context. Raises ConfigurationError as `load_shape` does."""
    shape = load_shape(base)
    model = load_model(base, dtype)
    config, inner = model.config, model.model
    angles = torch.arange(positions)[None]
    with torch.inference_mode():
        cos, sin = inner.rotary_emb(torch.zeros(1, 1, 1), position_ids=angles)
        layers = tuple(
            DecoderLayer(
                each.input_layernorm.weight.detach(),
                Linear(each.self_attn.q_proj, each.self_attn.k_proj, each.self_attn.v_proj),
                Linear(each.self_attn.o_proj),
                each.post_attention_layernorm.weight.detach(),
                Linear(each.mlp.gate_proj, each.mlp.up_proj),
                Linear(each.mlp.down_proj),
            )
            for each in inner.layers
        )
        return Weights(
            shape, dtype, config.rms_norm_eps, inner.embed_tokens.weight.detach().contiguous(), layers,
            inner.norm.weight.detach(), Linear(model.lm_head), model.lm_head.weight.detach().contiguous(),
            cos[0, :, : shape.dim // 2].float().contiguous(), sin[0, :, : shape.dim // 2].float().contiguous(),
        )  # fmt: skip


def _check(base: BaseModel, config: Any) -> None:
    kinds = {k for k in getattr(config, "layer_types", None) or [] if k != "full_attention"}
    windowed = "sliding_attention" in kinds or (config.model_type == "mistral" and config.sliding_window)
    known = config.model_type in FAMILY and config.hidden_act == "silu" and not windowed and not kinds
    if not known:
        raise ConfigurationError(
            f"base_model: {base.name} is a '{config.model_type}' model this engine cannot compute; it takes "
            f"{', '.join(FAMILY)} without sliding windows",
            fix="serve it with vLLM: SHOPTALK_ENGINE=vllm",
        )
