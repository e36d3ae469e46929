"""The fast forward and backward pass is that of transformers and peft, for every layout of a batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from shoptalk.models.adapterfile import TARGET_MODULES
from shoptalk.models.basemodel import BaseModel, load_tokenizer
from training.lora.decoder import PackedDecoder, computes
from training.lora.fitting import adapted as with_adapter
from training.lora.fitting import fit, tokens_per_second
from training.lora.packed import IGNORED, Row, collate
from training.recipe import Recipe

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # of peft about transformers
SIZES: dict[str, Any] = {
    "vocab_size": 90, "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 6,
    "num_key_value_heads": 2, "max_position_embeddings": 128,
}  # fmt: skip
MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "llama, tied": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, tie_word_embeddings=True)),
    "qwen2, with biases": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
}
BEGIN = [5, 6, 7, 8]


def row(prompt: list[int], reply: list[int]) -> Row:
    return {"input_ids": [*prompt, *reply], "labels": [IGNORED] * len(prompt) + reply}


BATCHES = {
    "one example": [row([*BEGIN, 1], [2, 3])],
    "a shared beginning": [row([*BEGIN, 1, 2, 3], [9]), row([*BEGIN, 4], [3, 2, 1, 9]), row([*BEGIN, 8, 8], [7, 9])],
    "the same prompt": [row(BEGIN, [1, 2, 9]), row(BEGIN, [3, 9])],
    "the prompt of one begins another's": [row(BEGIN, [1, 9]), row([*BEGIN, 4, 4], [2, 9])],
    "nothing shared": [row([1, 2, 3], [4, 9]), row([2, 2, 3, 4, 5, 6], [4, 5, 9])],
    "an example without a reply": [row([*BEGIN, 1], []), row([*BEGIN, 2], [9])],
    "no prompt": [row([], [1, 2, 3]), row([1], [2, 9])],
}


def adapted(kind: str) -> Any:
    torch.manual_seed(1)
    lora = LoraConfig(r=3, lora_alpha=6, target_modules=list(TARGET_MODULES), init_lora_weights=False)
    model = MODELS[kind]()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):  # zero when new
            torch.nn.init.normal_(parameter)
    return get_peft_model(model.eval(), lora)


def gradients(model: Any) -> dict[str, torch.Tensor]:
    found = {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}
    model.zero_grad()
    return found


def of_transformers(model: Any, rows: list[Row]) -> torch.Tensor:
    """Return the loss of padded rows, each with its own attention mask."""
    longest = max(len(each["input_ids"]) for each in rows)
    missing = [longest - len(each["input_ids"]) for each in rows]
    ids = torch.tensor([[*each["input_ids"], *[0] * n] for each, n in zip(rows, missing, strict=True)])
    labels = torch.tensor([[*each["labels"], *[IGNORED] * n] for each, n in zip(rows, missing, strict=True)])
    mask = torch.tensor([[1] * (longest - n) + [0] * n for n in missing])
    loss: torch.Tensor = model(input_ids=ids, attention_mask=mask, labels=labels).loss
    return loss


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("name", BATCHES)
def test_loss_and_gradients_are_those_of_transformers(kind: str, name: str) -> None:
    model = adapted(kind)
    wanted = of_transformers(model, BATCHES[name])
    wanted.backward()
    expected = gradients(model)
    for kept in (1000, 0):  # 0: layers are computed again in the backward pass
        found = PackedDecoder(model, kept).loss(collate(BATCHES[name]))
        found.backward()
        assert found.item() == pytest.approx(wanted.item(), rel=1e-5)
        for key, each in gradients(model).items():
            assert torch.allclose(each, expected[key], rtol=1e-3, atol=1e-5), key
    assert len(expected) == 2 * SIZES["num_hidden_layers"] * len(TARGET_MODULES)


def test_what_examples_share_is_computed_once() -> None:
    batch = collate(BATCHES["a shared beginning"])
    assert batch["shared"] == len(BEGIN)
    assert batch["tokens"] == sum(len(each["input_ids"]) for each in BATCHES["a shared beginning"])
    assert len(batch["ids"]) == batch["tokens"] - 2 * len(BEGIN)


def test_a_model_that_it_does_not_compute_is_known() -> None:
    assert all(computes(build().config) for build in MODELS.values())
    assert not computes(MistralConfig(**SIZES, sliding_window=16))
    assert computes(MistralConfig(**SIZES, sliding_window=None))
    assert not computes(LlamaConfig(**SIZES, hidden_act="gelu"))


@pytest.mark.slow
def test_a_model_that_it_does_not_compute_is_trained_by_trl(tiny_base: BaseModel, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_base)
    config = MistralConfig(**{**SIZES, "vocab_size": len(tokenizer)}, sliding_window=16)
    model = with_adapter(MistralForCausalLM(config), Recipe(rank=2, alpha=4))
    assert tokens_per_second(model, BATCHES["nothing shared"]) == float("inf")
    losses: list[float] = []
    recipe = Recipe(batch=2, learning_rate=1e-2, warmup_steps=0)
    fit(model, tokenizer, BATCHES["nothing shared"], 4, recipe, tmp_path, lambda _, loss: losses.append(loss))
    assert len(losses) == 4
    assert losses[-1] < losses[0]
