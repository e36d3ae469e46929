"""Ten thousand requests at overload: is each answered or refused with 429, and does anything leak?

Usage: python -m bench.overload [--requests 10000] [--customers 200] [--json OUT]

Many more customers than the queue holds ask at once, again and again, some hanging up. The server's memory is read
every second, its sequences and slots afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import tempfile
import time
from collections import Counter
from pathlib import Path

import uvloop

from bench.adapters import random_adapter
from bench.client import Target, ask, percentile
from chatbot.engine.compute.weights import load_shape
from shoptalk.demo.shop import Shop
from shoptalk.domain import Scope
from shoptalk.models.basemodel import find_base_model
from tests.e2e.stack import Stack, models_folder


def memory_mb(pid: int) -> float:
    """Return a process's resident memory."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


async def overload(
    target: Target, models: list[str], texts: list[str], requests: int, customers: int, pid: int
) -> tuple[Counter[str], list[tuple[float, float]], list[float]]:
    """Return how requests ended, the memory over time, and the seconds that each refusal took."""
    left, ends, memory, refusals = iter(range(requests)), Counter[str](), [], []
    began = time.perf_counter()

    async def customer() -> None:
        for n in left:
            asked = time.perf_counter()
            leave = 0 if n % 16 == 7 else None
            sample = await ask(target, target.body(models[n % len(models)], texts[n % len(texts)], 4), leave)
            if leave is not None and not sample.problem:
                ends["hung up"] += 1
            elif sample.status == 429:
                ends["429"] += 1
                refusals.append(time.perf_counter() - asked)
                await asyncio.sleep(0.2)
            else:
                ends[sample.problem or "answered"] += 1

    async def watch() -> None:
        while True:
            memory.append((time.perf_counter() - began, memory_mb(pid)))
            await asyncio.sleep(1.0)

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(customer() for _ in range(customers)))
    watching.cancel()
    return ends, memory, refusals


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--customers", type=int, default=200)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    models = models_folder()
    base = find_base_model(models, "HuggingFaceTB/SmolLM2-135M-Instruct")
    texts = [r.opening for r in Shop(seed=31).everyday(200)]
    with tempfile.TemporaryDirectory() as folder:
        values = {"engine": "embedded", "models": models, "adapter_slots": 3, "prefix_cache_mb": 128}
        with Stack(Path(folder) / "home", **values) as stack:
            names = ["shop@v0"]
            for seed in range(4):  # more than there are slots
                files = random_adapter(load_shape(base), seed)
                names.append(str(stack.parts.registry.publish("shop", files, base_sha256=base.sha256).ref))
            stack.environment.pop("OMP_WAIT_POLICY")
            stack.start("serve")
            target = Target("shoptalk", stack.settings.port, stack.key(Scope.CHAT, Scope.RELEASE))
            pid = stack.processes["serve"].pid
            began = time.perf_counter()
            work = overload(target, names, texts, options.requests, options.customers, pid)
            ends, memory, refusals = uvloop.run(work)
            took = time.perf_counter() - began
            time.sleep(2.0)
            with stack.client() as http:
                page = http.get("/metrics").text
            gauges = {k: float(v) for k, v in re.findall(r'shoptalk_engine\{what="(\w+)"\} (\S+)', page)}
            errors = len(re.findall("Traceback", stack.log("serve")))
    early = [mb for at, mb in memory if 0.25 * took <= at <= 0.5 * took]
    late = [mb for at, mb in memory if at >= 0.75 * took]
    result = {
        "requests": options.requests,
        "seconds": took,
        "ends": dict(ends),
        "refused_after_ms_p50": 1000 * percentile(refusals, 0.5),
        "refused_after_ms_p99": 1000 * percentile(refusals, 0.99),
        "memory_mb_second_quarter": sum(early) / max(1, len(early)),
        "memory_mb_last_quarter": sum(late) / max(1, len(late)),
        "in_use_afterwards": gauges,
        "tracebacks": errors,
        "memory_mb": [round(mb) for _, mb in memory[:: max(1, len(memory) // 12)]],
    }
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
