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
from chatbot.engine.compute.lora import read_adapter
from chatbot.engine.compute.store import KeyValues
from chatbot.engine.compute.team import Team
from chatbot.engine.compute.weights import load_weights
from shoptalk.basemodel import choose_dtype, find_base_model

CONTEXT = 160  # positions each row sees


def milliseconds(work: Callable[[], object], times: int = 30) -> float:
    """The median, after a few to warm up."""
    took = []
    for n in range(times + 5):
        began = time.perf_counter()
        work()
        if n >= 5:
            took.append(time.perf_counter() - began)
    return 1000 * statistics.median(took)


def limits(dtype: torch.dtype) -> dict[str, float]:
    """Gigabytes a second read, and matrix products in 10^12 operations a second."""
    big = torch.ones(2**28)
    a = torch.randn(2048, 2048).to(dtype)
    return {
        "memory_gb_per_s": big.nbytes / milliseconds(big.sum, 8) / 1e6,
        "gemm_tflops": 2 * 2048**3 / milliseconds(lambda: a @ a, 8) / 1e9,
    }


def main() -> None:
    base = find_base_model(Path(sys.argv[1]), sys.argv[2])
    dtype, threads = choose_dtype("auto"), torch.get_num_threads()
    weights = load_weights(base, dtype, 2048)
    forward, shape = Forward(weights, Team(threads)), weights.shape
    adapters = [read_adapter(random_adapter(shape, seed), shape, dtype, 16) for seed in range(4)]
    result: dict[str, object] = {"dtype": str(dtype), "threads": threads, "limits": limits(dtype)}
    steps = []
    with torch.inference_mode():
        for rows in (1, 2, 4, 8, 16):
            stores = [KeyValues(shape, dtype, CONTEXT + 1) for _ in range(rows)]
            for store in stores:
                store.data.zero_()

            def tokens(own: bool, stores: list[KeyValues] = stores) -> list[Token]:
                return [Token(5, s, CONTEXT, adapters[i % 4] if own else None) for i, s in enumerate(stores)]

            base_ms = milliseconds(lambda: forward.logits(forward.decode(tokens(False))))
            lora_ms = milliseconds(lambda: forward.logits(forward.decode(tokens(True))))
            steps.append({"rows": rows, "base_ms": base_ms, "adapters_ms": lora_ms, "added_ms": lora_ms - base_ms})
        store = KeyValues(shape, dtype, 1200)
        prompts = []
        for count in (32, 64, 128, 512):
            row: dict[str, float] = {"tokens": count}
            for name, adapter in (("base_ms", None), ("adapter_ms", adapters[0])):
                prompt = [Segment(list(range(count)), store, 0, adapter)]
                row[name] = milliseconds(partial(forward.prefill, prompt), 8)
            prompts.append(row)
    result["steps"], result["prompts"] = steps, prompts
    each = shape.hidden * (2 * shape.wide + 2 * shape.narrow) + 3 * shape.hidden * shape.inner
    result["weights_mb"] = (shape.layers * each + shape.vocabulary * shape.hidden) * dtype.itemsize / 1e6
    print(json.dumps(result))


if __name__ == "__main__":
    main()
