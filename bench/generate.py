"""The baseline of bench.serving, in a separate process: transformers.generate over padded batches, without LoRA.

It reads one line of JSON from standard input for each measurement (`{"texts", "tokens"}`) and writes one: the seconds
for all, the time to the first token, and the gaps after it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
from transformers import StoppingCriteria, StoppingCriteriaList

from shoptalk.domain import Message
from shoptalk.models.basemodel import ChatTokenizer, choose_dtype, find_base_model, load_model, load_tokenizer


class StepTimes(StoppingCriteria):
    """Records the time of every decoding step."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: object) -> torch.Tensor:
        self.times.append(time.perf_counter())
        return torch.zeros(len(input_ids), dtype=torch.bool)


def main() -> None:
    models, name, system = sys.argv[1:]
    base = find_base_model(Path(models), name)
    model, tokenizer = load_model(base, choose_dtype("auto")), load_tokenizer(base)
    chats = ChatTokenizer(tokenizer)
    for line in sys.stdin:
        wanted = json.loads(line)
        prompts = [chats.render([Message("system", system), Message("user", text)]) for text in wanted["texts"]]
        longest = max(map(len, prompts))
        ids = torch.tensor([[tokenizer.pad_token_id] * (longest - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        steps, tokens = StepTimes(), wanted["tokens"]
        began = time.perf_counter()
        with torch.inference_mode():
            model.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False,
                pad_token_id=tokenizer.pad_token_id, stopping_criteria=StoppingCriteriaList([steps]),
            )  # fmt: skip
        seconds = time.perf_counter() - began
        gaps = [b - a for a, b in zip(steps.times, steps.times[1:], strict=False)]
        print(json.dumps({"seconds": seconds, "ttft": steps.times[0] - began, "itls": gaps}), flush=True)


if __name__ == "__main__":
    main()
