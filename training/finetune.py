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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoptalk.file_modes import private_umask
from shoptalk.processes.parent_death import end_with_parent
from shoptalk.processes.priority import idle

if TYPE_CHECKING:
    from shoptalk.domain import Example
    from shoptalk.models.basemodel import ChatTokenizer


def main(folder: Path) -> None:
    """Train the adapter that FOLDER/job.json describes."""
    private_umask()
    stay_in_the_background()
    job = json.loads((folder / "job.json").read_text())
    if os.getppid() != job["parent"]:
        sys.exit("the process that asked for this training is gone")
    import torch

    from shoptalk.models.basemodel import BaseModel, ChatTokenizer, choose_dtype, load_model, load_tokenizer
    from training.budget import choose, steps, within_time
    from training.dataset import check_disjoint, parse
    from training.lora.fitting import adapted, device, fit, tokens_per_second
    from training.recipe import Recipe

    recipe, base = Recipe(**job["recipe"]), BaseModel(**{**job["base"], "folder": Path(job["base"]["folder"])})
    dataset = parse(job["dataset_id"], Path(job["dataset_file"]).read_bytes())
    check_disjoint(dataset)
    torch.set_num_threads(recipe.threads or os.cpu_count() or 1)
    torch.manual_seed(recipe.seed)
    tokenizer = load_tokenizer(base)
    chats = ChatTokenizer(tokenizer)
    rows = [row for each in dataset.train if (row := tokens(chats, each, recipe.max_tokens))]
    if not rows:
        sys.exit(f"no example to train on has at most {recipe.max_tokens} tokens")
    model = adapted(load_model(base, choose_dtype(job["dtype"])).to(device()), recipe)
    if recipe.steps is None:
        recipe = within_time(recipe, tokens_per_second(model, rows[-recipe.batch :]))
    rows = [rows[i] for i in choose([len(row["input_ids"]) for row in rows], recipe)]
    planned = steps(len(rows), recipe)
    report(steps=planned, examples=len(rows), left_out=len(dataset.train) - len(rows))
    facts = fit(model, tokenizer, rows, planned, recipe, folder, lambda step, loss: report(step=step, loss=loss))
    write_adapter(model, folder / "adapter")
    aside = folder / "done.json.part"
    aside.write_text(json.dumps(facts))
    os.replace(aside, folder / "done.json")
    report(done=facts)


def tokens(tokenizer: ChatTokenizer, example: Example, limit: int) -> dict[str, list[int]] | None:
    """Return an example as `training.lora.packed.Row`; None where the newest exchange alone is longer than `limit`.

    Of a chat that is too long the oldest exchanges are left out.
    """
    from shoptalk.models.history import within
    from training.lora.packed import IGNORED

    reply = [*tokenizer.encode(example.reply), tokenizer.eos]
    chat = within(example.messages, limit - len(reply), lambda messages: len(tokenizer.render(messages)))
    if chat is None:
        return None
    prompt = tokenizer.render(chat)
    return {"input_ids": [*prompt, *reply], "labels": [IGNORED] * len(prompt) + reply}


def write_adapter(model: Any, folder: Path) -> None:
    """Write peft's two files: the weights as float32 safetensors, the configuration as plain, sorted JSON."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().float().contiguous().cpu() for k, v in get_peft_model_state_dict(model).items()}
    save_file(state, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    lora = model.peft_config["default"]
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
