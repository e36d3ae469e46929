"""The base model's weights, laid out for serving: products that share an input joined, packed where oneDNN can.

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
PACKED_FOR = 8  # rows; oneDNN chooses the layout by it


class Product:
    """y = x Wᵀ + b."""

    def __init__(self, *parts: nn.Linear) -> None:
        weight = torch.cat([p.weight.detach() for p in parts])
        biases = [torch.zeros(len(p.weight), dtype=weight.dtype) if p.bias is None else p.bias.detach() for p in parts]
        self.bias = None if all(p.bias is None for p in parts) else torch.cat(biases)
        self.packed = _packs(weight.dtype)
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, PACKED_FOR) if self.packed else weight

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """`x` [tokens, in] to [tokens, out]."""
        if self.packed:
            out: torch.Tensor = torch.ops.mkldnn._linear_pointwise.default(x, self.weight, self.bias, "none", [], "")
            return out
        return nn.functional.linear(x, self.weight, self.bias)


def _packs(dtype: torch.dtype) -> bool:
    """Whether oneDNN is there and computes in this type on this processor."""
    if not torch.backends.mkldnn.is_available():
        return False
    return dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes; `wide` is the width of all query heads, `narrow` that of all key heads."""

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
class Layer:
    """One decoder layer."""

    before_attention: torch.Tensor  # weights of the norms
    qkv: Product
    o: Product
    before_feed_forward: torch.Tensor
    gate_up: Product
    down: Product


@dataclass(frozen=True, slots=True)
class Weights:
    """`cos` and `sin` are [positions, dim / 2] in float32."""

    shape: Shape
    dtype: torch.dtype
    epsilon: float
    embedding: torch.Tensor
    layers: tuple[Layer, ...]
    last_norm: torch.Tensor
    head: Product
    head_weight: torch.Tensor
    cos: torch.Tensor
    sin: torch.Tensor


def load_shape(base: BaseModel) -> Shape:
    """The model's sizes, from its configuration; raises ConfigurationError for one this engine cannot compute."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(base.folder, local_files_only=True)
    _check(base, config)
    return Shape(
        config.num_hidden_layers, config.hidden_size, config.num_attention_heads, config.num_key_value_heads,
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
        config.intermediate_size, config.vocab_size,
    )  # fmt: skip


def load_weights(base: BaseModel, dtype: torch.dtype, positions: int) -> Weights:
    """`positions` is the longest context. Raises ConfigurationError as `load_shape` does."""
    shape = load_shape(base)
    model = load_model(base, dtype)
    config, inner = model.config, model.model
    angles = torch.arange(positions)[None]
    with torch.inference_mode():
        cos, sin = inner.rotary_emb(torch.zeros(1, 1, 1), position_ids=angles)
        layers = tuple(
            Layer(
                each.input_layernorm.weight.detach(),
                Product(each.self_attn.q_proj, each.self_attn.k_proj, each.self_attn.v_proj),
                Product(each.self_attn.o_proj),
                each.post_attention_layernorm.weight.detach(),
                Product(each.mlp.gate_proj, each.mlp.up_proj),
                Product(each.mlp.down_proj),
            )
            for each in inner.layers
        )
        return Weights(
            shape, dtype, config.rms_norm_eps, inner.embed_tokens.weight.detach().contiguous(), layers,
            inner.norm.weight.detach(), Product(model.lm_head), model.lm_head.weight.detach().contiguous(),
            cos[0, :, : shape.dim // 2].float().contiguous(), sin[0, :, : shape.dim // 2].float().contiguous(),
        )  # fmt: skip


def _check(base: BaseModel, config: Any) -> None:
    kinds = {k for k in getattr(config, "layer_types", None) or [] if k != "full_attention"}
    windowed = "sliding_attention" in kinds or (config.model_type == "mistral" and config.sliding_window)
    known = config.model_type in FAMILY and config.hidden_act == "silu" and not windowed and not kinds
    if not known:
        raise ConfigurationError(
            f"base_model: {base.name} is a '{config.model_type}' model this engine cannot compute; it takes "
            f"{', '.join(FAMILY)} without sliding windows. Serve it with vLLM: SHOPTALK_ENGINE=vllm"
        )
