"""The loss on replies only is that of trl's own trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, disable_progress_bars
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

from shoptalk.domain import Example, Message
from shoptalk.models.adapterfile import TARGET_MODULES
from shoptalk.models.basemodel import BaseModel, ChatTokenizer, load_model, load_tokenizer
from training.finetune import tokens
from training.lora.replies import ReplyTrainer

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::FutureWarning")]
SAID = ("Where is it?", "My kettle whistles although it is new, is that a fault or is it meant to be so?", "Hi")
REPLY = "I am sorry to hear that; it is on its way."


def loss_and_gradients(kind: type[Any], base: BaseModel, folder: Path) -> tuple[float, dict[str, torch.Tensor]]:
    disable_progress_bars()
    torch.manual_seed(3)
    chats = ChatTokenizer(load_tokenizer(base))
    examples = [
        Example(
            label_id=str(n), conversation_id=str(n), group=str(n), messages=(Message("user", text),), reply=REPLY[n:]
        )
        for n, text in enumerate(SAID)
    ]
    config = SFTConfig(
        output_dir=str(folder), use_cpu=True, bf16=False, report_to=[], completion_only_loss=True, max_length=128,
        per_device_train_batch_size=len(SAID), gradient_checkpointing=False, dataloader_pin_memory=False,
    )  # fmt: skip
    trainer = kind(
        model=load_model(base, torch.float32),
        args=config,
        train_dataset=Dataset.from_list([tokens(chats, each, 128) for each in examples]),
        processing_class=load_tokenizer(base),
        peft_config=LoraConfig(
            r=4, target_modules=list(TARGET_MODULES), task_type="CAUSAL_LM", init_lora_weights=False
        ),
    )
    (batch,) = trainer.get_train_dataloader()
    loss = trainer.compute_loss(trainer.model, dict(sorted(batch.items())))
    loss.backward()
    named = trainer.model.named_parameters()
    return loss.item(), {name: each.grad for name, each in named if each.requires_grad}


def test_loss_and_gradients_are_those_of_trl(tiny_base: BaseModel, tmp_path: Path) -> None:
    wanted, gradients = loss_and_gradients(SFTTrainer, tiny_base, tmp_path)
    found, ours = loss_and_gradients(ReplyTrainer, tiny_base, tmp_path)
    assert found == pytest.approx(wanted, rel=1e-5)
    assert ours.keys() == gradients.keys()
    assert len(ours) == 2 * 2 * len(TARGET_MODULES)
    for name, each in gradients.items():
        assert torch.allclose(ours[name], each, rtol=1e-3, atol=1e-6), name
