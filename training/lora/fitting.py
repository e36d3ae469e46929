"""Fits an adapter to examples with trl's trainer, on the device that there is.

Reads no file and knows no dataset.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from datasets import Dataset, disable_progress_bars
from peft import LoraConfig, get_peft_model
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

from shoptalk.clock import MACHINE
from shoptalk.models.adapterfile import TARGET_MODULES
from training.lora.decoder import PackedDecoder, computes
from training.lora.packed import Row, collate
from training.lora.replies import ReplyTrainer
from training.recipe import Recipe

TRIED: Final = 2  # passes that are timed


def device() -> torch.device:
    """Return a CUDA or Apple GPU where there is one, else the CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def adapted(model: Any, recipe: Recipe) -> Any:
    """Return the model with a new LoRA adapter on its linear layers."""
    lora = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=0.0,
        target_modules=list(TARGET_MODULES),
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, lora)


def tokens_per_second(model: Any, rows: Sequence[Row]) -> float:
    """Return how many tokens a second a forward and backward pass over these rows takes; infinite where unknown."""
    if not computes(model.config):
        return float("inf")
    decoder, took = PackedDecoder(model), float("inf")
    batch = {k: v.to(model.device) if isinstance(v, torch.Tensor) else v for k, v in collate(rows).items()}
    for _ in range(TRIED):
        began = MACHINE.monotonic()
        decoder.loss(batch).backward()
        took = min(took, MACHINE.monotonic() - began)
        model.zero_grad()
    return float(batch["tokens"] / took)


def fit(
    model: Any,
    tokenizer: Any,
    rows: Sequence[Row],
    steps: int,
    recipe: Recipe,
    folder: Path,
    on_step: Callable[[int, float], None],
    kind: type[SFTTrainer] | None = None,
) -> dict[str, float]:
    """Train the model's adapter for so many steps. Return the mean loss, the seconds and the number of examples.

    `kind` is trl's trainer or one made of it: by default the fast one, where that computes the model.
    """
    disable_progress_bars()

    class StepLogger(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                on_step(state.global_step, round(float(logs["loss"]), 4))

    on_cpu = model.device.type == "cpu"
    config = SFTConfig(
        output_dir=str(folder / "trainer"),
        max_steps=steps,
        per_device_train_batch_size=recipe.batch,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=min(recipe.warmup_steps, steps // 2),
        max_grad_norm=1.0,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=on_cpu,
        bf16=model.get_base_model().dtype is torch.bfloat16,
        seed=recipe.seed,
        data_seed=recipe.seed,
        disable_tqdm=True,
        max_length=recipe.max_tokens,
        gradient_checkpointing=False,
        dataloader_pin_memory=False,
    )
    kind = kind or (ReplyTrainer if computes(model.config) else SFTTrainer)
    trainer = kind(
        model=model,
        args=config,
        train_dataset=Dataset.from_list([dict(row) for row in rows]),
        processing_class=tokenizer,
        callbacks=[StepLogger()],
    )
    result = trainer.train()
    return {"loss": result.training_loss, "seconds": result.metrics["train_runtime"], "examples": len(rows)}
