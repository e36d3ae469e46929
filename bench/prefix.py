"""How much time a conversation's next turn saves by reusing the history's KV cache, through the whole API.

Usage: python -m bench.prefix [--rounds 9] [--json OUT]

A customer whose history has about 1,000 tokens asks once more. Measures the time to first token with the
prefix cache, and with a prefix cache of no bytes, in two servers of which only one runs at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import statistics
import tempfile
from pathlib import Path

from bench.client import Target, ask
from shoptalk.demo.shop import Shop
from shoptalk.domain import Message, Scope
from shoptalk.models.basemodel import ChatTokenizer, find_base_model, load_tokenizer
from tests.e2e.stack import Stack, models_folder

HISTORY = 1000


def conversation(tokenizer: ChatTokenizer, seed: int) -> list[dict[str, str]]:
    """Return the messages of a long conversation that ends with the customer's."""
    messages: list[Message] = []
    for each in Shop(seed=seed).everyday(400):
        for asked, answered in each.exchanges:
            if messages and len(tokenizer.render(messages)) >= HISTORY:
                messages.append(Message("user", asked))
                return [{"role": m.role, "content": m.content} for m in messages]
            messages += [Message("user", asked), Message("assistant", answered)]
    raise AssertionError("the shop has too little to say")


async def second_turn(target: Target, history: list[dict[str, str]]) -> float:
    """Return the milliseconds to the first token of the turn after this history was answered."""
    body = {**target.body("shop", "", 8), "messages": history}
    first = await ask(target, body)
    more = [{"role": "assistant", "content": first.text}, {"role": "user", "content": "And how long will that take?"}]
    sample = await ask(target, {**body, "messages": [*history, *more]})
    assert not first.problem, first.problem
    assert not sample.problem, sample.problem
    return 1000 * sample.ttft


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    models = models_folder()
    tokenizer = ChatTokenizer(load_tokenizer(find_base_model(models, "HuggingFaceTB/SmolLM2-135M-Instruct")))
    histories = [conversation(tokenizer, seed) for seed in range(options.rounds)]
    took: dict[str, list[float]] = {"reused_ms": [], "recomputed_ms": []}
    with tempfile.TemporaryDirectory() as folder:
        for name, size in (("reused_ms", 512), ("recomputed_ms", 0)):
            values = {"engine": "embedded", "models": models, "prefix_cache_mb": size}
            with Stack(Path(folder) / name, **values) as stack:
                stack.environment.pop("OMP_WAIT_POLICY")
                stack.start("serve")
                target = Target("shoptalk", stack.settings.port, stack.key(Scope.CHAT))
                asyncio.run(second_turn(target, histories[0]))
                took[name] = [asyncio.run(second_turn(target, history)) for history in histories]
                stack.processes["serve"].send_signal(signal.SIGTERM)
    result = {name: statistics.median(values) for name, values in took.items()}
    result["ratio"] = result["reused_ms"] / result["recomputed_ms"]
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
