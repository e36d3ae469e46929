"""A thousand adapter swaps under load: do customers notice, and does any reply come from an adapter not recorded?

Usage: python -m bench.swaps [--swaps 1000] [--dtype bfloat16|float32] [--json OUT]

A real API serves a Poisson process of requests, of which some hang up. Meanwhile releases move the alias between more
adapters than there are slots, so that each swap loads one. Afterwards an engine that answers one request at a time,
with nothing cached, answers each (adapter, question) alone, and every reply is compared with what its recorded adapter
says alone. Where they differ, the result has the gap between that engine's two likeliest tokens at the first
difference, in nats.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import uvloop

from bench.adapters import random_adapter
from bench.client import Sample, Target, ask, closed_loop, percentile
from chatbot.engine.compute.weights import load_shape
from chatbot.engine.embedded import EmbeddedEngine
from chatbot.engine.limits import EngineLimits
from chatbot.engine.protocol import GenerationRequest, Sampling
from shoptalk.demo.shop import Shop
from shoptalk.domain import AdapterRef, Message, Scope, new_id
from shoptalk.models.basemodel import BaseModel, find_base_model
from shoptalk.store.chat import inferences
from tests.chatbot.engines import Reply
from tests.e2e.stack import Stack, models_folder

ADAPTERS, SLOTS, QUESTIONS, TOKENS = 6, 3, 16, 24
PAUSE_S = 0.6  # between two swaps
SCALE = 0.05  # of the adapters' weights: large enough that their answers differ
AFTER_S = 0.1  # how long a window lasts after its swap


@dataclass
class Run:
    """The replies and swaps of a run."""

    replies: list[tuple[str, Sample, float]] = field(default_factory=list)  # question, reply, time of asking
    left: int = 0
    windows: list[tuple[float, float]] = field(default_factory=list)
    swap_ms: list[float] = field(default_factory=list)


async def customers(run: Run, target: Target, texts: Sequence[str], rate: float, stop: asyncio.Event) -> None:
    """Send a Poisson process of requests until `stop`, each as a new customer.

    One in eight hangs up, some before the first word.
    """
    chance = random.Random(3)
    tasks: set[asyncio.Task[None]] = set()

    async def one(text: str, leave: int | None) -> None:
        asked = time.perf_counter()
        sample = await ask(target, target.body("shop", text, TOKENS, logprobs=True, user=new_id("customer")), leave)
        if leave is None:
            run.replies.append((text, sample, asked))
        else:
            run.left += 1

    while not stop.is_set():
        leave = chance.randrange(6) if chance.random() < 0.125 else None
        task = asyncio.create_task(one(chance.choice(texts), leave))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        await asyncio.sleep(chance.expovariate(rate))
    await asyncio.gather(*tasks)


async def releases_move(run: Run, stack: Stack, names: Sequence[str], swaps: int, stop: asyncio.Event) -> None:
    """Make each adapter live in turn, as a person would release it."""
    try:
        for n in range(swaps):
            await asyncio.sleep(PAUSE_S)
            began = time.perf_counter()
            await asyncio.to_thread(release, stack, names[n % len(names)])
            ended = time.perf_counter()
            run.windows.append((began, ended + AFTER_S))
            run.swap_ms.append(1000 * (ended - began))
            if n % 100 == 99:
                print(f"{n + 1} swaps, {len(run.replies)} replies", flush=True)
    finally:
        stop.set()


def release(stack: Stack, name: str) -> None:
    """Start and promote a release, and wait until the API serves its adapter."""
    moves = stack.parts.releases
    moves.settled(moves.promote(moves.start("shop", name, "bench").id, "bench").id, 60.0)


def alone(base: BaseModel, dtype: str, system: str, wanted: set[tuple[str, str]]) -> dict[tuple[str, str], Any]:
    """Let an engine that does nothing else answer each (adapter, question).

    Return for each the tokens, with the gap to the second likeliest.
    """
    limits = EngineLimits(1, 2048, 64, ADAPTERS, 16, 0, prefix_bytes=0)
    engine = EmbeddedEngine(base, getattr(torch, dtype), limits)
    engine.start()
    found: dict[tuple[str, str], Any] = {}
    shape = load_shape(base)
    for name in sorted({adapter for adapter, _ in wanted}):
        ref = AdapterRef.parse(name)
        if not ref.is_base:
            engine.load(ref, random_adapter(shape, ref.version, scale=SCALE))
    for name, text in sorted(wanted):
        reply = Reply(new_id("inf"))
        messages = [Message("system", system), Message("user", text)]
        sampling = Sampling(TOKENS, 0.0, ignore_eos=True, logprobs=2)
        engine.submit(GenerationRequest(reply.id, messages, AdapterRef.parse(name), sampling), reply)
        reply.wait()
        tokens = [t for delta in reply.deltas for t in delta.tokens]
        found[name, text] = [(t.token, t.top[0][1] - t.top[1][1]) for t in tokens]
    engine.stop()
    return found


def gap_at(parts: Sequence[str], tokens: Sequence[tuple[str, float]]) -> float:
    """Return the gap at the first token where two replies differ."""
    return next((gap for part, (token, gap) in zip(parts, tokens, strict=False) if part != token), 0.0)


def publish_adapters(stack: Stack, base: BaseModel) -> list[str]:
    """Publish the adapters that take turns. Return their names."""
    names = []
    for seed in range(1, ADAPTERS + 1):
        files = random_adapter(load_shape(base), seed, scale=SCALE)
        names.append(str(stack.parts.registry.publish("shop", files, base_sha256=base.sha256).ref))
    return names


def drive(run: Run, stack: Stack, names: Sequence[str], texts: Sequence[str], options: argparse.Namespace) -> float:
    """Release adapters while customers arrive. Return the rate of requests, by default half of what was possible."""
    target = Target("shoptalk", stack.settings.port, stack.key(Scope.CHAT, Scope.RELEASE))
    _, seconds = uvloop.run(closed_loop(target, ["shop"], texts, 8, 64, TOKENS))
    rate: float = options.rate or 0.5 * 64 / seconds
    print(f"{rate:.1f} requests a second", flush=True)

    async def both() -> None:
        stop = asyncio.Event()
        await asyncio.gather(
            customers(run, target, texts, rate, stop),
            releases_move(run, stack, names, options.swaps, stop),
        )

    uvloop.run(both())
    return rate


def state_afterwards(stack: Stack) -> dict[str, Any]:
    """Return what the engine still has in use, how many replies each adapter gave, and what the API logged of loads."""
    log = re.sub(r"\x1b\[[0-9;]*m", "", stack.log("serve"))
    with stack.client() as http:
        time.sleep(1.0)
        gauges = dict(re.findall(r'shoptalk_engine\{what="(\w+)"\} (\S+)', http.get("/metrics").text))
    with stack.parts.store.read() as conn:
        recorded = inferences.by_adapter(conn)
    reads = [float(x) for x in re.findall(r"read_ms\W+([\d.]+)", log)]
    loads = [float(x) for x in re.findall(r"load_ms\W+([\d.]+)", log)]
    return {
        "loads": len(loads),
        "read_p50_ms": percentile(reads, 0.5),
        "verify_and_copy_p50_ms": percentile(loads, 0.5),
        "verify_and_copy_p99_ms": percentile(loads, 0.99),
        "in_use_afterwards": gauges,
        "replies_by_adapter": recorded,
        "log_errors": len(re.findall(r"\[error|\"error\"|Traceback", log)),
    }


def judge(run: Run, base: BaseModel, dtype: str, system: str) -> dict[str, Any]:
    """Return how many requests failed, and how many replies differ from their adapter's alone."""
    failed = [s.problem for _, s, _ in run.replies if s.problem]
    fine = [(text, s) for text, s, _ in run.replies if not s.problem]
    expected = alone(base, dtype, system, {(s.model, text) for text, s in fine})
    said = {asked: [token for token, _ in tokens] for asked, tokens in expected.items()}
    others = {text: [parts for (_, asked), parts in said.items() if asked == text] for text, _ in fine}
    different = [(text, s) for text, s in fine if s.parts != said[s.model, text]]
    mixed = [s for text, s in different if s.parts in others[text]]
    gaps = [gap_at(s.parts, expected[s.model, text]) for text, s in different]
    distinct = sum(others[text].count(parts) == 1 for (_, text), parts in said.items())
    return {
        "dtype": dtype,
        "requests": len(run.replies) + run.left,
        "hung_up": run.left,
        "failed": len(failed),
        "problems": failed[:3],
        "distinct_answers": f"{distinct} of {len(said)}",
        "mixed": len(mixed),
        "different_from_alone": len(different),
        "largest_gap_where_different": max(gaps, default=0.0),
    }


def latencies(run: Run) -> dict[str, Any]:
    """Return the gaps between tokens inside the swap windows and outside."""
    steady, swapping = [], []
    for _, sample, asked in run.replies:
        at = asked + sample.ttft
        for gap in sample.itls:
            inside = any(begin <= at + gap and at <= end for begin, end in run.windows)
            (swapping if inside else steady).append(gap)
            at += gap
    return {
        "itl_p99_steady_ms": 1000 * percentile(steady, 0.99),
        "itl_p99_swapping_ms": 1000 * percentile(swapping, 0.99),
        "itl_p99_ratio": percentile(swapping, 0.99) / max(1e-9, percentile(steady, 0.99)),
        "gaps_steady": len(steady),
        "gaps_swapping": len(swapping),
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run the load and the releases, then compare every reply. Return all metrics."""
    models = models_folder()
    base = find_base_model(models, "HuggingFaceTB/SmolLM2-135M-Instruct")
    texts = sorted({r.opening for r in Shop(seed=21).everyday(400) if not re.search(r"\d|@", r.opening)})[:QUESTIONS]
    run = Run()
    with tempfile.TemporaryDirectory() as folder:
        values = {"engine": "embedded", "models": models, "adapter_slots": SLOTS, "dtype": options.dtype}
        with Stack(Path(folder) / "home", **values) as stack:
            names = publish_adapters(stack, base)
            stack.environment.pop("OMP_WAIT_POLICY")
            stack.start("serve")
            rate = drive(run, stack, names, texts, options)
            afterwards = state_afterwards(stack)
            system = stack.settings.prompt
    result = {**judge(run, base, options.dtype, system), **latencies(run), "rate": rate}
    return {**result, "swaps": len(run.swap_ms), "swap_p50_ms": percentile(run.swap_ms, 0.5), **afterwards}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--swaps", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=0.0, help="requests a second; 0: half of what it can")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = measure(options)
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
