"""Fine-tunes a LoRA adapter in a process of its own: `python -m training.finetune FOLDER`.

Reads FOLDER/job.json (base model, recipe, dataset file) and writes FOLDER/adapter/, then FOLDER/done.json, last.
Progress goes to standard output, one JSON object a line. Knows neither the store nor the registry. Runs at idle
priority and dies with its parent, so it neither slows customers nor outlives a killed worker. To make sure of that
before anything else, this module imports nothing at the top that takes time.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoptalk.file_modes import private_umask
from shoptalk.processes.parent_death import end_with_parent
from shoptalk.processes.priority import idle

if TYPE_CHECKING:
    from shoptalk.domain import Example
    from shoptalk.models.basemodel import ChatTokenizer

SHORT = 256  # tokens up to which plain attention is faster on a CPU; its memory grows quadratically (8 such: 1 GB)


def main(folder: Path) -> None:
    """Train the adapter that FOLDER/job.json describes."""
    private_umask()
    stay_in_the_background()
    job = json.loads((folder / "job.json").read_text())
    if os.getppid() != job["parent"]:
        sys.exit("the process that asked for this training is gone")
    import torch
    from datasets import Dataset, disable_progress_bars
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import SFTConfig

    from shoptalk.models.adapterfile import TARGET_MODULES
    from shoptalk.models.basemodel import BaseModel, ChatTokenizer, choose_dtype, load_model, load_tokenizer
    from training.dataset import check_disjoint, parse
    from training.recipe import Recipe
    from training.replies import ReplyTrainer

    disable_progress_bars()
    recipe, base = Recipe(**job["recipe"]), BaseModel(**{**job["base"], "folder": Path(job["base"]["folder"])})
    dataset = parse(job["dataset_id"], Path(job["dataset_file"]).read_bytes())
    check_disjoint(dataset)
    torch.set_num_threads(recipe.threads or os.cpu_count() or 1)
    torch.manual_seed(recipe.seed)
    dtype = choose_dtype(job["dtype"])
    tokenizer = load_tokenizer(base)
    chats = ChatTokenizer(tokenizer)
    rows = Dataset.from_list([tokens(chats, e, recipe.max_tokens) for e in dataset.train])

    class StepLogger(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                report(step=state.global_step, loss=round(float(logs["loss"]), 4))

    config = SFTConfig(
        output_dir=str(folder / "trainer"),
        max_steps=recipe.steps,
        per_device_train_batch_size=recipe.batch,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=recipe.warmup_steps,
        max_grad_norm=1.0,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        bf16=dtype is torch.bfloat16,
        seed=recipe.seed,
        data_seed=recipe.seed,
        disable_tqdm=True,
        completion_only_loss=True,
        max_length=recipe.max_tokens,
        gradient_checkpointing=False,
        dataloader_pin_memory=False,
    )
    lora = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=0.0,
        target_modules=list(TARGET_MODULES),
        task_type="CAUSAL_LM",
    )
    model = load_model(base, dtype)
    if max(len(row) for row in rows["input_ids"]) <= SHORT:
        model.set_attn_implementation("eager")
    trainer = ReplyTrainer(
        model=model,
        args=config,
        train_dataset=rows,
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=[StepLogger()],
    )
    result = trainer.train()
    write_adapter(trainer.model, lora, folder / "adapter")
    facts = {"loss": result.training_loss, "seconds": result.metrics["train_runtime"], "examples": len(rows)}
    aside = folder / "done.json.part"
    aside.write_text(json.dumps(facts))
    os.replace(aside, folder / "done.json")
    report(done=facts)


def tokens(tokenizer: ChatTokenizer, example: Example, limit: int) -> dict[str, Sequence[int]]:
    """Return an example as token ids, and a mask that is 1 on the reply.

    Of a prompt that is too long the oldest tokens are cut off.
    """
    prompt = tokenizer.render(example.messages)
    reply = [*tokenizer.encode(example.reply), tokenizer.eos][:limit]
    prompt = prompt[-max(1, limit - len(reply)) :]
    return {"input_ids": [*prompt, *reply], "completion_mask": [0] * len(prompt) + [1] * len(reply)}


def write_adapter(model: Any, lora: Any, folder: Path) -> None:
    """Write peft's two files: the weights as float32 safetensors, the configuration as plain, sorted JSON."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().float().contiguous().cpu() for k, v in get_peft_model_state_dict(model).items()}
    save_file(state, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": None,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "lora_alpha": lora.lora_alpha,
        "lora_dropout": 0.0,
        "r": lora.r,
        "target_modules": sorted(lora.target_modules),
        "use_dora": False,
        "use_rslora": False,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")


def stay_in_the_background() -> None:
    """Make the kernel end this process with its parent, and run it only when no other process wants the processor."""
    end_with_parent(signal.SIGKILL)
    idle()


def report(**facts: object) -> None:
    """Write one line of progress."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
