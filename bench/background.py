"""How much a round delays customers, and how long a rollback takes. Ratios are to a baseline in the same run.

Usage: python -m bench.background [--requests 40] [--json OUT]

Starts a real API on the real model in a temporary folder. Time to first token is the time to
the first streamed chunk with text, seen by the client, one request at a time: at rest, while an adapter trains, and
while one is evaluated. A rollback is timed from the command's start, and from its commit, to the API's observed state.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx

from shoptalk.app.rounds import recipe
from shoptalk.demo.helpers import add_dataset, examples_of
from shoptalk.demo.shop import Shop
from shoptalk.domain import Message, new_id
from shoptalk.errors import TrainingFailed
from shoptalk.store.chat import releases
from shoptalk.store.training import datasets
from tests.clocks import now
from tests.e2e.stack import Stack, models_folder, until
from training.examples import content_of
from training.trainer import Trainer


def first_token(http: httpx.Client, text: str) -> float:
    """Return the seconds until the first text arrives."""
    body = {"model": "shop", "messages": [{"role": "user", "content": text}], "max_tokens": 16, "stream": True}
    began = time.perf_counter()
    seen = 0.0
    with http.stream("POST", "/v1/chat/completions", json=body) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if not seen and line.startswith("data: {"):
                choice = json.loads(line[6:])["choices"]
                if choice and choice[0]["delta"].get("content"):
                    seen = time.perf_counter() - began
    return seen


def measure(http: httpx.Client, texts: list[str]) -> dict[str, float]:
    """Return the time to first token over some texts, in milliseconds."""
    times = []
    for text in texts:
        times.append(first_token(http, text))
        time.sleep(0.2)
    ordered = sorted(times)
    return {"p50_ms": 1000 * statistics.median(times), "p90_ms": 1000 * ordered[int(0.9 * len(ordered))]}


def frozen(stack: Stack, count: int) -> str:
    """Store a dataset of the synthetic shop, without labels. Return its id."""
    pairs = [r.exchanges[0] for r in Shop(seed=5).everyday(count)]
    texts = [stack.parts.scrubber.scrub([Message("user", a), Message("assistant", b)]).texts for a, b in pairs]
    answers = ((asked, f"{answered} Your case is number {i}.") for i, (asked, answered) in enumerate(texts))
    examples = examples_of(stack.settings.prompt, "bench", answers)
    train = [example for i, example in enumerate(examples) if i % 4]
    content = content_of(stack.settings.prompt, train, examples[::4])
    sha = stack.parts.artifacts.put(json.dumps(content).encode())
    return add_dataset(stack.parts, datasets.Dataset("ds_bench", sha, count * 3 // 4, count // 4, None, now()))


def rollback(stack: Stack) -> dict[str, float]:
    """Roll back. Return the seconds until the API is seen to serve the former adapter."""

    def serves(name: str) -> bool:
        with stack.parts.store.read() as conn:
            return any(o.alias == "shop" and o.adapter == name for o in releases.all_observed(conn))

    began = time.perf_counter()
    command = [sys.executable, "-m", "shoptalk.cli", "release", "rollback"]
    subprocess.run(command, env=stack.environment, check=True, capture_output=True)
    until(lambda: serves("shop@v0"), "the rollback")
    whole = time.perf_counter() - began
    with stack.parts.store.read() as conn:
        committed = releases.events(conn, 1)[0].created_at
        seen = next(o.updated_at for o in releases.all_observed(conn) if o.alias == "shop")
    return {"command_s": whole, "commit_to_observed_s": (seen - committed).total_seconds()}


def _train(trainer: Trainer, dataset: str, stack: Stack, under_way: threading.Event) -> None:
    with contextlib.suppress(TrainingFailed):  # it is killed once the measurement is done
        trainer.train(new_id("run"), dataset, recipe(stack.settings), lambda *_: under_way.set())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    texts = [r.opening for r in Shop(seed=9).everyday(options.requests)]
    result: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        with Stack(home, engine="embedded", models=models_folder(), train_steps=400) as stack, stack.client() as http:
            dataset = frozen(stack, 200)
            stack.start("serve")
            measure(http, texts[:5])
            rest = measure(http, texts)
            result["rest"] = rest
            quick = recipe(stack.settings.model_copy(update={"train_steps": 4}))
            adapter = stack.parts.trainer.train(new_id("run"), dataset, quick)
            under_way = threading.Event()
            trainer = stack.parts.trainer
            run = threading.Thread(target=_train, args=(trainer, dataset, stack, under_way), daemon=True)
            run.start()
            under_way.wait(300)
            result["training"] = measure(http, texts)
            subprocess.run(["pkill", "-f", f"training.finetune {home}"], check=False)
            run.join()
            judging = [sys.executable, "-m", "shoptalk.cli", "evaluate", str(adapter.ref)]
            with subprocess.Popen(judging, env=stack.environment, stdout=subprocess.DEVNULL) as child:
                time.sleep(20)
                result["evaluating"] = measure(http, texts)
                child.kill()
            release = stack.parts.releases.start("shop", str(adapter.ref), "bench")
            stack.parts.releases.promote(release.id, "bench")
            until(lambda: httpx_serves(http, str(adapter.ref)), "the release")
            result["rollback"] = rollback(stack)
    for name in ("training", "evaluating"):
        metrics = result[name]
        assert isinstance(metrics, dict)
        metrics["ratio_p50"] = metrics["p50_ms"] / rest["p50_ms"]
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


def httpx_serves(http: httpx.Client, adapter: str) -> bool:
    return any(row["serves"] == adapter for row in http.get("/v1/models").json()["data"])


if __name__ == "__main__":
    main()
