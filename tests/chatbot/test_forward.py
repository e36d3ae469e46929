"""The model's computation against transformers' own, for each family of decoders it takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from chatbot.engine.compute.autotune import fastest_threads
from chatbot.engine.compute.forward import DecodeToken, Forward, Segment
from chatbot.engine.compute.kv_cache import KVCache
from chatbot.engine.compute.threads import ThreadTeam
from chatbot.engine.compute.weights import load_shape, load_weights
from shoptalk.errors import ConfigurationError
from shoptalk.models.basemodel import BaseModel, load_model
from tests.conftest import KERNELS

pytestmark = pytest.mark.slow

SIZES = {
    "vocab_size": 300, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3, "initializer_range": 0.2,
    "max_position_embeddings": 256,
}  # fmt: skip
MODELS: dict[str, tuple[Any, Any]] = {
    "llama": (LlamaForCausalLM, LlamaConfig(**SIZES, num_attention_heads=4, num_key_value_heads=2)),
    "one key head": (LlamaForCausalLM, LlamaConfig(**SIZES, num_attention_heads=3, num_key_value_heads=1)),
    "no groups, tied": (
        LlamaForCausalLM,
        LlamaConfig(**SIZES, num_attention_heads=4, num_key_value_heads=4, tie_word_embeddings=True),
    ),
    "head size of its own": (
        LlamaForCausalLM,
        LlamaConfig(**SIZES, num_attention_heads=4, num_key_value_heads=2, head_dim=20),
    ),
    "biases": (
        LlamaForCausalLM,
        LlamaConfig(**SIZES, num_attention_heads=4, num_key_value_heads=2, attention_bias=True, mlp_bias=True),
    ),
    "stretched positions": (
        LlamaForCausalLM,
        LlamaConfig(
            **SIZES, num_attention_heads=4, num_key_value_heads=2,
            rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0},
        ),
    ),
    "mistral": (
        MistralForCausalLM,
        MistralConfig(**SIZES, num_attention_heads=4, num_key_value_heads=2, sliding_window=None),
    ),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config(**SIZES, num_attention_heads=4, num_key_value_heads=2)),
}  # fmt: skip
IDS = [5, 17, 3, 250, 99, 100, 7, 7, 42, 11, 280, 1, 64, 128, 200, 33]


def saved(folder: Path, kind: Any, config: Any) -> BaseModel:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = kind(config)
        for name, tensor in model.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(tensor, std=0.2)
        model.save_pretrained(folder)
    return BaseModel("tiny", folder, "0" * 64, "test")


@pytest.mark.parametrize("kind", MODELS)
def test_logits_are_those_of_transformers(kind: str, tmp_path: Path) -> None:
    base = saved(tmp_path, *MODELS[kind])
    wanted = load_model(base, torch.float32)(torch.tensor([IDS])).logits[0]
    weights = load_weights(base, torch.float32, 128)
    forward = Forward(weights, ThreadTeam(2, KERNELS))
    with torch.inference_mode():
        kv_cache = KVCache(weights.shape, torch.float32, 1)
        kv_cache.reserve(10, 0)
        (states,) = forward.prefill([Segment(IDS[:10], kv_cache, 0, None)])
        assert torch.allclose(forward.logits(states), wanted[:10], atol=2e-4)
        kv_cache.reserve(14, 10)
        (states,) = forward.prefill([Segment(IDS[10:14], kv_cache, 10, None)])  # the second part of a long prompt
        assert torch.allclose(forward.logits(states), wanted[10:14], atol=2e-4)
        for native in (True, False):  # machine code for all layers, and the same kernels one by one
            if not native:
                forward._native = None
            for position in (14, 15):
                kv_cache.reserve(position + 1, position)
                state = forward.decode([DecodeToken(IDS[position], kv_cache, position, None)])
                assert torch.allclose(forward.logits(state), wanted[position : position + 1], atol=2e-4)


def test_bfloat16_is_computed_on_any_processor(tmp_path: Path) -> None:
    """Also where oneDNN cannot: slowly, but no less exact than transformers."""
    base = saved(tmp_path, *MODELS["llama"])
    wanted, theirs = (load_model(base, kind)(torch.tensor([IDS])).logits[0] for kind in (torch.float32, torch.bfloat16))
    weights = load_weights(base, torch.bfloat16, 128)
    forward = Forward(weights, ThreadTeam(2, KERNELS))
    with torch.inference_mode():
        kv_cache = KVCache(weights.shape, torch.bfloat16, 16)
        (states,) = forward.prefill([Segment(IDS[:15], kv_cache, 0, None)])
        found = torch.cat(
            [forward.logits(states), forward.logits(forward.decode([DecodeToken(IDS[15], kv_cache, 15, None)]))]
        )
    assert (found - wanted).abs().mean() < 1.5 * (theirs - wanted).abs().mean()


def test_sequences_and_segments_do_not_affect_each_other(tmp_path: Path) -> None:
    """Sequences of other lengths in the batch change nothing of a sequence."""
    base = saved(tmp_path, *MODELS["llama"])
    weights = load_weights(base, torch.float32, 128)
    forward = Forward(weights, ThreadTeam(2, KERNELS))

    def prefilled(ids: list[int]) -> KVCache:
        made = KVCache(weights.shape, torch.float32, 64)
        forward.prefill([Segment(ids, made, 0, None)])
        return made

    with torch.inference_mode():
        long, short = IDS, IDS[3:6]
        alone = [
            forward.prefill([Segment(i, KVCache(weights.shape, torch.float32, 64), 0, None)])[0].clone()
            for i in (long, short)
        ]
        together = forward.prefill(
            [Segment(i, KVCache(weights.shape, torch.float32, 64), 0, None) for i in (long, short)]
        )
        for one, other in zip(alone, together, strict=True):
            assert torch.allclose(one, other, atol=1e-5)
        tokens = [DecodeToken(9, prefilled(long), len(long), None), DecodeToken(8, prefilled(short), len(short), None)]
        single = [forward.decode([token]).clone() for token in tokens]
        both = forward.decode(tokens)
        assert torch.allclose(torch.cat(single), both, atol=1e-5)


@pytest.mark.parametrize(
    "change", [{"model_type": "gpt2"}, {"hidden_act": "gelu"}, {"model_type": "mistral", "sliding_window": 64}]
)
def test_a_model_it_cannot_compute_is_refused_with_a_way_out(tmp_path: Path, change: dict[str, Any]) -> None:
    base = saved(tmp_path, *MODELS["llama"])
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    assert AutoConfig.from_pretrained(tmp_path) is not None
    with pytest.raises(ConfigurationError, match="SHOPTALK_ENGINE=vllm"):
        load_shape(base)


def test_the_fastest_number_of_threads_is_one_that_was_tried(tmp_path: Path) -> None:
    base = saved(tmp_path, *MODELS["llama"])
    team = ThreadTeam(2, KERNELS)
    forward = Forward(load_weights(base, torch.float32, 128), team)
    before = torch.get_num_threads()
    with torch.inference_mode():
        assert fastest_threads(forward, team, 2) in (1, 2)
    torch.set_num_threads(before)
