"""What a decode step costs inside the engine, and the machine's limits beside it. A process of its own; prints JSON.

Usage: python -m bench.step MODELS NAME
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from bench.adapters import random_adapter
from chatbot.engine.compute.forward import Forward, Segment, Token
from chatbot.engine.compute.kv_cache import KeyValues
from chatbot.engine.compute.lora import read_adapter
from chatbot.engine.compute.pack import Copies
from chatbot.engine.compute.threads import Team
from chatbot.engine.compute.weights import load_weights
from shoptalk.models.basemodel import choose_dtype, find_base_model

CONTEXT = 160  # positions each row sees


def milliseconds(*works: Callable[[], object], times: int = 30) -> list[float]:
    """The median of each, after a few to warm up; in turn, so that a slow moment of the machine is everyone's."""
    took: list[list[float]] = [[] for _ in works]
    for n in range(times + 5):
        for work, each in zip(works, took, strict=True):
            began = time.perf_counter()
            work()
            if n >= 5:
                each.append(time.perf_counter() - began)
    return [1000 * statistics.median(each) for each in took]


def limits(dtype: torch.dtype) -> dict[str, float]:
    """Gigabytes a second read, and matrix products in 10^12 operations a second."""
    big = torch.ones(2**28)
    a = torch.randn(2048, 2048).to(dtype)
    return {
        "memory_gb_per_s": big.nbytes / milliseconds(big.sum, times=8)[0] / 1e6,
        "gemm_tflops": 2 * 2048**3 / milliseconds(lambda: a @ a, times=8)[0] / 1e9,
    }


def main() -> None:
    base = find_base_model(Path(sys.argv[1]), sys.argv[2])
    dtype, threads = choose_dtype("auto"), torch.get_num_threads()
    weights = load_weights(base, dtype, 2048)
    team, shape = Team(threads), weights.shape
    forward, copies = Forward(weights, team), Copies(team, dtype)
    adapters = [read_adapter(random_adapter(shape, seed), shape, dtype, 16, copies) for seed in range(4)]
    result: dict[str, object] = {"dtype": str(dtype), "threads": threads, "limits": limits(dtype)}
    steps = []
    with torch.inference_mode():
        for rows in (1, 2, 4, 8, 16):
            stores = [KeyValues(shape, dtype, CONTEXT + 1) for _ in range(rows)]
            for store in stores:
                store.data.zero_()

            def tokens(own: bool, stores: list[KeyValues] = stores) -> list[Token]:
                return [Token(5, s, CONTEXT, adapters[i % 4] if own else None) for i, s in enumerate(stores)]

            base_ms, lora_ms = milliseconds(
                lambda: forward.logits(forward.decode(tokens(False))),
                lambda: forward.logits(forward.decode(tokens(True))),
                times=60,
            )
            steps.append({"rows": rows, "base_ms": base_ms, "adapters_ms": lora_ms, "added_ms": lora_ms - base_ms})
        store = KeyValues(shape, dtype, 1200)
        prompts = []
        for count in (32, 64, 128, 512):
            both = [[Segment(list(range(count)), store, 0, adapter)] for adapter in (None, adapters[0])]
            base_ms, lora_ms = milliseconds(*(partial(forward.prefill, prompt) for prompt in both), times=8)
            prompts.append({"tokens": count, "base_ms": base_ms, "adapter_ms": lora_ms})
    result["steps"], result["prompts"] = steps, prompts
    each = shape.hidden * (2 * shape.wide + 2 * shape.narrow) + 3 * shape.hidden * shape.inner
    result["weights_mb"] = (shape.layers * each + shape.vocabulary * shape.hidden) * dtype.itemsize / 1e6
    print(json.dumps(result))


if __name__ == "__main__":
    main()
