"""How fast training is, beside trl's own trainer with the same model, examples, steps and seed.

Usage: python -m bench.training [--steps 24] [--rounds 2] [--json OUT]

Examples are first and later replies of made-up shop chats behind the shop's prompt. Both trainers take turns, in
processes of their own. `tokens_per_s` counts tokens of the examples, without padding; it is the median over steps.
`peak_share` is the part of the processor's measured speed of large matrix products that the model's own
multiplications make up, those of shared tokens counted once. Losses are of held-out examples, after the last step, in
nats a token, computed by transformers.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BATCH = 8
HELD_OUT = 48
RECIPE = {"batch": BATCH, "seed": 17}


def examples(count: int, seed: int) -> list[dict[str, list[int]]]:
    """Return replies of agents, each with its chat so far, as token ids."""
    from bench.retail import chats
    from shoptalk.domain import Example, Message, Role
    from shoptalk.models.basemodel import ChatTokenizer, load_tokenizer
    from shoptalk.settings import DEFAULT_PROMPT
    from training.finetune import tokens

    tokenizer = ChatTokenizer(load_tokenizer(base()))
    roles: dict[str, Role] = {"customer": "user", "agent": "assistant"}
    made: list[dict[str, list[int]]] = []
    for n, row in enumerate(chats(4 * count, seed)):
        said = [Message(roles[turn["role"]], turn["text"]) for turn in row["turns"]]
        replies = [i for i, message in enumerate(said) if i and message.role == "assistant"]
        if not replies:
            continue
        at = replies[n % min(2, len(replies))]
        example = Example(
            label_id=str(n), conversation_id=str(n), group=str(n),
            messages=(Message("system", DEFAULT_PROMPT), *said[:at]), reply=said[at].content,
        )  # fmt: skip
        if found := tokens(tokenizer, example, 512):
            made.append(found)
        if len(made) == count:
            return made
    raise AssertionError("too few chats")


def base() -> Any:
    from shoptalk.models.basemodel import find_base_model
    from shoptalk.settings import load_settings

    settings = load_settings()
    return find_base_model(settings.models_path, settings.base_model)


def run(kind: str, steps: int, count: int) -> dict[str, float]:
    """Train once; return tokens a second and the held-out loss."""
    import torch
    from trl import SFTTrainer

    from shoptalk.models.basemodel import choose_dtype, load_model, load_tokenizer
    from training.lora.fitting import adapted, device, fit
    from training.lora.packed import collate
    from training.recipe import Recipe

    recipe = Recipe(**RECIPE)
    torch.manual_seed(recipe.seed)
    rows, held = examples(count, 1), examples(HELD_OUT, 2)
    model = adapted(load_model(base(), choose_dtype("auto")).to(device()), recipe)
    moments: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        fit(
            model, load_tokenizer(base()), rows, steps, recipe, Path(folder),
            lambda *_: moments.append(time.perf_counter()),
            kind=SFTTrainer if kind == "trl" else None,
        )  # fmt: skip
    per_step = statistics.median(b - a for a, b in itertools.pairwise(moments))
    tokens = BATCH * sum(len(row["input_ids"]) for row in rows) / len(rows)
    batch = collate(rows[:BATCH])
    return {
        "tokens_per_s": tokens / per_step, "seconds_per_step": per_step, "loss": loss(model, held),
        "computed": len(batch["ids"]) / batch["tokens"], "peak": peak(),
    }  # fmt: skip


def loss(model: Any, rows: list[dict[str, list[int]]]) -> float:
    """Return the mean over reply tokens, by transformers' own forward pass."""
    import torch

    total = count = 0.0
    model.eval()
    for row in rows:
        ids, labels = torch.tensor([row["input_ids"]]), torch.tensor([row["labels"]])
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            found = model(input_ids=ids.to(model.device), labels=labels.to(model.device)).loss
        replied = sum(label >= 0 for label in row["labels"][1:])
        total, count = total + float(found) * replied, count + replied
    return total / count


def peak() -> float:
    """Return the operations a second of a large matrix product in the model's type."""
    import torch

    from shoptalk.models.basemodel import choose_dtype

    a = torch.randn(2048, 2048).to(choose_dtype("auto"))
    took = []
    for _ in range(9):
        began = time.perf_counter()
        a @ a
        took.append(time.perf_counter() - began)
    return 2 * 2048**3 / statistics.median(took)


def operations_per_token() -> float:
    """Return a forward and backward pass's multiplications and additions, without those of the output layer."""
    from transformers import AutoConfig

    c = AutoConfig.from_pretrained(base().folder, local_files_only=True)
    dim = c.hidden_size // c.num_attention_heads
    attention = 2 * c.hidden_size * dim * (c.num_attention_heads + c.num_key_value_heads)
    return 4.0 * c.num_hidden_layers * (attention + 3 * c.hidden_size * c.intermediate_size)


def measure(steps: int, rounds: int) -> dict[str, float]:
    found: dict[str, list[dict[str, float]]] = {"ours": [], "trl": []}
    for _ in range(rounds):
        for kind, each in found.items():
            command = [sys.executable, "-m", "bench.training", "--one", kind, "--steps", str(steps)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            each.append(json.loads(done.stdout.splitlines()[-1]))
            print(kind, {k: round(v, 4) for k, v in each[-1].items()}, file=sys.stderr, flush=True)
    speed = {kind: statistics.median(one["tokens_per_s"] for one in each) for kind, each in found.items()}
    ours = found["ours"]
    fastest = max(one["peak"] for each in found.values() for one in each)
    return {
        "tokens_per_s": round(speed["ours"], 1),
        "trl_tokens_per_s": round(speed["trl"], 1),
        "times_trl": round(speed["ours"] / speed["trl"], 2),
        "loss": round(statistics.median(one["loss"] for one in ours), 4),
        "trl_loss": round(statistics.median(one["loss"] for one in found["trl"]), 4),
        "peak_share": round(speed["ours"] * ours[0]["computed"] * operations_per_token() / fastest, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", choices=("ours", "trl"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(run(options.one, options.steps, 160)))
        return
    found = measure(options.steps, options.rounds)
    print(json.dumps(found, indent=1))
    if options.json:
        options.json.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
