"""Serving: shoptalk, transformers.generate without LoRA, and vLLM where it is set up (make vllm), in one run.

Usage: python -m bench.serving [--rounds 3] [--quick] [--no-vllm] [--json OUT] [--plot OUT] [--all OUT]

Starts the servers itself and lets only one run at a time: the others' processes are stopped (SIGSTOP) meanwhile.
First closed loops at concurrency 1 and 8 with 0 (base model) and 4 adapters mixed, each the median of the rounds; at 4
and 16, and more mixtures at 8, once. Then open loops with a Poisson process of requests, at shares of the rate that
shoptalk answers at concurrency 8. shoptalk's times include all it does for a request: authentication, scrubbing,
routing, recording, committing.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import uvloop

from bench.adapters import random_adapter
from bench.client import Target, closed_loop, median, open_loop, summarize
from chatbot.engine.compute.weights import load_shape
from shoptalk.demo.shop import Shop
from shoptalk.domain import Scope
from shoptalk.models.basemodel import BaseModel, choose_dtype, find_base_model
from tests.e2e.stack import Stack, models_folder
from tests.vllm import VllmServer, find_vllm

TOKENS = 64
ADAPTERS = 8
SLOTS = 8
GOOD_TTFT, GOOD_TPOT = 1.0, 0.1  # seconds: a reader's patience, and faster than one reads
CONCURRENCY = (1, 4, 8, 16)
SHARES = (0.25, 0.5, 0.75, 1.0)  # of the requests a second that shoptalk answers at concurrency 8
LONGEST_S = 15.0  # a closed loop sends no more requests after that, where a server is slow
Row = dict[str, Any]


class Server:
    """A server to measure. `models` are the names to ask for; the first is the base model."""

    def __init__(self, name: str, target: Target, models: list[str], process: subprocess.Popen[Any]) -> None:
        self.name, self.target, self.models, self._process = name, target, models, process

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let the server run only inside the context."""
        self.signal(signal.SIGCONT)
        time.sleep(0.2)
        try:
            yield
        finally:
            self.signal(signal.SIGSTOP)

    def signal(self, number: signal.Signals) -> None:
        for pid in (self._process.pid, *children(self._process.pid)):
            os.kill(pid, number)


def children(pid: int) -> list[int]:
    """Return all descendants of a process."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *children(child)]
    return found


def mixture(server: Server, adapters: int, requests: int, skew: str) -> list[str]:
    """Return each request's model: the base model, adapters in turn, or mostly a few of them (Zipf, exponent 1)."""
    if not adapters:
        return [server.models[0]]
    own = server.models[1 : adapters + 1]
    if skew == "uniform":
        return own
    return random.Random(1).choices(own, [1 / (n + 1) for n in range(adapters)], k=requests)


def closed(server: Server, texts: list[str], adapters: int, concurrency: int, skew: str = "uniform") -> Row:
    requests = max(8, 4 * concurrency)
    models = mixture(server, adapters, requests, skew)
    with server.alone():
        loop = closed_loop(server.target, models, texts, concurrency, requests, TOKENS, LONGEST_S)
        samples, seconds = uvloop.run(loop)
    assert not any(s.problem for s in samples), next(s.problem for s in samples if s.problem)
    return summarize(samples, seconds, GOOD_TTFT, GOOD_TPOT)


def opened(server: Server, texts: list[str], rate: float, seconds: float) -> Row:
    with server.alone():
        models = mixture(server, 4, 0, "uniform")
        samples, took = uvloop.run(open_loop(server.target, models, texts, rate, seconds, TOKENS))
    return summarize(samples, took, GOOD_TTFT, GOOD_TPOT)


class Generate:
    """The baseline: it answers a batch at a time, so each of a batch's requests waits for all of it."""

    def __init__(self, models: Path, base: BaseModel, system: str) -> None:
        command = [sys.executable, "-m", "bench.generate", str(models), base.name, system]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._ask(["Hello"], 4)  # the model is loaded once this is answered

    def _ask(self, texts: list[str], tokens: int) -> Row:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"texts": texts, "tokens": tokens}) + "\n")
        self.process.stdin.flush()
        found: Row = json.loads(self.process.stdout.readline())
        return found

    def closed(self, texts: list[str], concurrency: int) -> Row:
        batches = [self._ask(texts[n * concurrency :][:concurrency], TOKENS) for n in range(3)]
        itls = sorted(gap for batch in batches for gap in batch["itls"])
        return {
            "tokens_per_s": concurrency * TOKENS * len(batches) / sum(b["seconds"] for b in batches),
            "ttft_p50_ms": 1000 * sorted(b["ttft"] for b in batches)[len(batches) // 2],
            "itl_p50_ms": 1000 * itls[len(itls) // 2],
            "itl_p99_ms": 1000 * itls[int(0.99 * len(itls))],
        }

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def start_shoptalk(stack: Stack, base: BaseModel) -> Server:
    shape, registry = load_shape(base), stack.parts.registry
    names = ["shop@v0"]
    for seed in range(ADAPTERS):
        published = registry.publish("shop", random_adapter(shape, seed), base_sha256=base.sha256)
        names.append(str(published.ref))
    stack.environment.pop("OMP_WAIT_POLICY")  # which tests set, so that they can share the cores
    stack.start("serve")
    key = stack.key(Scope.CHAT, Scope.RELEASE)
    return Server("shoptalk", Target("shoptalk", stack.settings.port, key), names, stack.processes["serve"])


def start_vllm(program: Path, base: BaseModel, folder: Path, system: str, clean: ExitStack) -> Server:
    server = clean.enter_context(
        VllmServer(
            program,
            base.folder,
            "base",
            batch=16,
            slots=ADAPTERS + 1,
            rank=16,
            eager=False,
            dtype=str(choose_dtype("auto")).removeprefix("torch."),
        )
    )
    names = ["base"]
    for seed in range(ADAPTERS):
        files, path = random_adapter(load_shape(base), seed), folder / f"adapter-{seed}"
        path.mkdir()
        (path / "adapter_config.json").write_bytes(files.config)
        (path / "adapter_model.safetensors").write_bytes(files.weights)
        wanted = {"lora_name": path.name, "lora_path": str(path)}
        httpx.post(f"{server.url}/v1/load_lora_adapter", json=wanted, timeout=120, trust_env=False).raise_for_status()
        names.append(path.name)
    assert server._process is not None
    return Server("vllm", Target("vllm", server.port, "none", system), names, server._process)


def measure(servers: list[Server], generate: Generate, options: argparse.Namespace) -> dict[str, list[Row]]:
    """Return all metrics: those of closed loops, mixtures and open loops."""
    texts = [r.opening for r in Shop(seed=11).everyday(200)]
    levels = (1, 8) if options.quick else CONCURRENCY
    closed_rows: dict[tuple[Any, ...], list[Row]] = {}
    tasks: list[tuple[tuple[Any, ...], Callable[[], Row]]] = []
    for c in levels:
        tasks.append((("transformers", 0, c, "uniform"), partial(generate.closed, texts, c)))
        for server in servers:
            counts = (0, 1, 4) if c == 1 else (0, 4)
            tasks += [((server.name, a, c, "uniform"), partial(closed, server, texts, a, c)) for a in counts]
    mixtures = () if options.quick else ((1, "uniform"), (2, "uniform"), (8, "uniform"), (4, "zipf"), (8, "zipf"))
    for server in servers:
        tasks += [((server.name, a, 8, k), partial(closed, server, texts, a, 8, k)) for a, k in mixtures]
    for server in servers:  # every batch size once, unmeasured
        closed(server, texts, 4, max(levels))
    for n in range(options.rounds):
        for key, work in tasks:
            if n and (key[2] not in (1, 8) or key[3] == "zipf" or (key[2] == 8 and key[1] not in (0, 4))):
                continue  # the other concurrencies and mixtures, once
            row = work()
            closed_rows.setdefault(key, []).append(row)
            say(f"round {n + 1}: {key}: {row['tokens_per_s']:.0f} tokens/s, first token {row['ttft_p50_ms']:.0f} ms")
    rows = [
        {"server": s, "adapters": a, "concurrency": c, "skew": skew, **median(found)}
        for (s, a, c, skew), found in closed_rows.items()
    ]
    poisson = []
    most = median(closed_rows["shoptalk", 4, 8, "uniform"])["requests_per_s"]
    for share in () if options.quick else SHARES:
        rate = round(share * most, 2)
        for server in servers:
            row = opened(server, texts, rate, 15.0)
            poisson.append({"server": server.name, "adapters": 4, "rate": rate, **row})
            say(f"{server.name} at {rate} requests/s: goodput {row['goodput_per_s']:.2f}/s")
    return {"closed": rows, "poisson": poisson}


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def table(rows: list[Row], columns: tuple[str, ...]) -> str:
    """Return rows as a Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        cells = [f"{row[c]:.1f}" if isinstance(row.get(c), float) else str(row.get(c, "")) for c in columns]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def summary(found: dict[str, Any]) -> str:
    """Return the ratios within this run that the acceptance asks for, as text."""
    speed = {(r["server"], r["adapters"], r["concurrency"]): r for r in found["closed"] if r["skew"] == "uniform"}
    lines = []
    for c, adapters in ((8, 4), (1, 1)):
        ours, plain, other = (
            speed[("shoptalk", adapters, c)],
            speed[("transformers", 0, c)],
            speed.get(("vllm", adapters, c)),
        )
        line = f"concurrency {c}, {adapters} adapters: {ours['tokens_per_s']:.0f} tokens/s, "
        line += f"{ours['tokens_per_s'] / plain['tokens_per_s']:.2f} of transformers.generate without LoRA"
        if other:
            line += f", {ours['tokens_per_s'] / other['tokens_per_s']:.2f} of vLLM"
            line += f"; first token {ours['ttft_p50_ms'] / other['ttft_p50_ms']:.2f} of vLLM's"
        lines.append(line)
    step = next(s for s in found["step"]["steps"] if s["sequences"] == 8)
    lines.append(f"the adapters add {step['added_ms']:.1f} ms to a step of 8 sequences ({step['base_ms']:.1f} ms)")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="concurrency 1 and 8 only")
    parser.add_argument("--no-vllm", action="store_true")
    parser.add_argument("--json", type=Path, help="the closed loop's metrics, a list")
    parser.add_argument("--all", type=Path, help="all metrics")
    parser.add_argument("--plot", type=Path, help="a picture")
    options = parser.parse_args()
    models, program = models_folder(), None if options.no_vllm else find_vllm()
    base = find_base_model(models, "HuggingFaceTB/SmolLM2-135M-Instruct")
    found: dict[str, Any] = {"step": json.loads(_output([sys.executable, "-m", "bench.step", str(models), base.name]))}
    with ExitStack() as clean:
        folder = Path(clean.enter_context(tempfile.TemporaryDirectory()))
        stack = clean.enter_context(
            Stack(folder / "home", engine="embedded", models=models, adapter_slots=SLOTS, max_batch=16)
        )
        system = stack.settings.prompt
        servers = [start_shoptalk(stack, base)]
        servers[0].signal(signal.SIGSTOP)
        clean.callback(servers[0].signal, signal.SIGCONT)
        if program is not None:
            servers.append(start_vllm(program, base, folder, system, clean))
            servers[1].signal(signal.SIGSTOP)
            clean.callback(servers[1].signal, signal.SIGCONT)
        generate = Generate(models, base, system)
        clean.callback(generate.stop)
        found |= measure(servers, generate, options)
    columns = ("server", "adapters", "skew", "concurrency", "tokens_per_s", "ttft_p50_ms", "itl_p50_ms", "itl_p99_ms")
    print(table(found["closed"], columns))
    if found["poisson"]:
        columns = ("server", "rate", "requests_per_s", "goodput_per_s", "ttft_p50_ms", "ttft_p99_ms", "itl_p99_ms")
        print("\n" + table(found["poisson"], columns))
    print("\n" + summary(found))
    if options.json:
        wanted = ("server", "adapters", "concurrency", "tokens_per_s", "ttft_p50_ms", "itl_p99_ms")
        rows = [{k: r[k] for k in wanted} for r in found["closed"] if r["skew"] == "uniform"]
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    if options.all:
        options.all.write_text(json.dumps(found, indent=1) + "\n")
    if options.plot:
        from bench.plot import draw

        draw(found, options.plot)


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
