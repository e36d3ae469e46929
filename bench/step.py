"""How long a decode step takes inside the engine, beside the machine's limits. Runs as its own process; prints JSON.

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
from chatbot.engine.compute.forward import DecodeToken, Forward, Segment
from chatbot.engine.compute.kv_cache import KVCache
from chatbot.engine.compute.lora import read_adapter
from chatbot.engine.compute.pack import TensorCopier
from chatbot.engine.compute.threads import ThreadTeam
from chatbot.engine.compute.weights import load_weights
from shoptalk.models.basemodel import choose_dtype, find_base_model

CONTEXT = 160  # positions that each sequence attends to


def milliseconds(*works: Callable[[], object], times: int = 30) -> list[float]:
    """Return the median time of each work, after a few rounds to warm up.

    The works alternate, so that a slow moment of the machine affects all of them.
    """
    took: list[list[float]] = [[] for _ in works]
    for n in range(times + 5):
        for work, each in zip(works, took, strict=True):
            began = time.perf_counter()
            work()
            if n >= 5:
                each.append(time.perf_counter() - began)
    return [1000 * statistics.median(each) for each in took]


def limits(dtype: torch.dtype) -> dict[str, float]:
    """Return the speed of memory reads in GB/s, and of matrix products in 10^12 operations a second."""
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
    team, shape = ThreadTeam(threads), weights.shape
    forward, copier = Forward(weights, team), TensorCopier(team, dtype)
    adapters = [read_adapter(random_adapter(shape, seed), shape, dtype, 16, copier) for seed in range(4)]
    result: dict[str, object] = {"dtype": str(dtype), "threads": threads, "limits": limits(dtype)}
    steps = []
    with torch.inference_mode():
        for sequences in (1, 2, 4, 8, 16):
            kv_caches = [KVCache(shape, dtype, CONTEXT + 1) for _ in range(sequences)]
            for kv_cache in kv_caches:
                kv_cache.data.zero_()

            def tokens(own: bool, kv_caches: list[KVCache] = kv_caches) -> list[DecodeToken]:
                return [DecodeToken(5, s, CONTEXT, adapters[i % 4] if own else None) for i, s in enumerate(kv_caches)]

            base_ms, lora_ms = milliseconds(
                lambda: forward.logits(forward.decode(tokens(False))),
                lambda: forward.logits(forward.decode(tokens(True))),
                times=60,
            )
            times = {"base_ms": base_ms, "adapters_ms": lora_ms, "added_ms": lora_ms - base_ms}
            steps.append({"sequences": sequences, **times})
        kv_cache = KVCache(shape, dtype, 1200)
        prompts = []
        for count in (32, 64, 128, 512):
            both = [[Segment(list(range(count)), kv_cache, 0, adapter)] for adapter in (None, adapters[0])]
            base_ms, lora_ms = milliseconds(*(partial(forward.prefill, prompt) for prompt in both), times=8)
            prompts.append({"tokens": count, "base_ms": base_ms, "adapter_ms": lora_ms})
    result["steps"], result["prompts"] = steps, prompts
    each = shape.hidden * (2 * shape.wide + 2 * shape.narrow) + 3 * shape.hidden * shape.inner
    result["weights_mb"] = (shape.layers * each + shape.vocabulary * shape.hidden) * dtype.itemsize / 1e6
    print(json.dumps(result))


if __name__ == "__main__":
    main()
