"""An adapter that the gate rejected, or whose file was altered, is never served. A rollback works under load."""

from __future__ import annotations

import dataclasses
import json
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from safetensors.numpy import save

from shoptalk.app.parts import Parts
from shoptalk.app.rounds import StageWork, recipe
from shoptalk.demo.helpers import add_dataset, examples_of
from shoptalk.demo.shop import Shop
from shoptalk.domain import AdapterRef, Message, ReleaseState, Verdict, new_id
from shoptalk.errors import IllegalMove
from shoptalk.models.adapterfile import AdapterFiles
from shoptalk.settings import load_settings
from shoptalk.store.chat import releases
from shoptalk.store.training import datasets, evaluations
from tests.clocks import now
from tests.e2e.stack import Stack, models_folder, until
from training.dataset import without_overlap
from training.examples import content_of

pytestmark = pytest.mark.slow
MODULES = {"q_proj": (576, 576), "v_proj": (576, 192)}


def adapter_files(seed: int, size: float = 1e-3) -> AdapterFiles:
    """Return a small random adapter for the base model, in peft's format."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for layer in range(30):
        for name, (columns, rows) in MODULES.items():
            path = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            tensors[f"{path}.lora_A.weight"] = rng.normal(0, size, (4, columns)).astype(np.float32)
            tensors[f"{path}.lora_B.weight"] = rng.normal(0, size, (rows, 4)).astype(np.float32)
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": sorted(MODULES), "bias": "none"}
    return AdapterFiles(json.dumps(config).encode(), save(tensors))


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Stack]:
    with Stack(tmp_path / "home", engine="embedded", models=models_folder()) as stack:
        stack.start("serve")
        yield stack


def publish(stack: Stack, seed: int) -> str:
    from shoptalk.models.basemodel import find_base_model

    base = find_base_model(stack.settings.models_path, stack.settings.base_model)
    return str(stack.parts.registry.publish("shop", adapter_files(seed), base_sha256=base.sha256).ref)


def observed(stack: Stack) -> dict[str, tuple[str, str | None]]:
    with stack.parts.store.read() as conn:
        return {o.alias: (o.adapter, o.problem) for o in releases.all_observed(conn)}


def release(stack: Stack, adapter: str) -> None:
    started = stack.parts.releases.start("shop", adapter, "test")
    stack.parts.releases.settled(stack.parts.releases.promote(started.id, "test").id, 60.0)


def test_an_altered_file_is_refused_and_the_live_adapter_stays(running: Stack) -> None:
    release(running, publish(running, 1))
    until(lambda: observed(running)["shop"][0] == "shop@v1", "the first adapter")
    adapter = running.parts.registry.find(AdapterRef.parse(publish(running, 2)))
    path = Path(running.parts.artifacts.path_of(adapter.weights_sha256))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    release(running, "shop@v2")
    with running.parts.store.read() as conn:
        refused = releases.newest(conn)[0]
        (event, *_) = releases.events(conn, release_id=refused.id)
    assert refused.state is ReleaseState.FAILED
    assert "altered" in event.reason
    assert observed(running)["shop"][0] == "shop@v1"
    assert str(running.parts.served()) == "shop@v1"
    with running.client() as http:
        body = {"model": "shop", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
        assert http.post("/v1/chat/completions", json=body).json()["model"] == "shop@v1"


def test_rollback_while_customers_chat(running: Stack) -> None:
    for seed in (1, 2):
        release(running, publish(running, seed))
        until(lambda: observed(running)["shop"][0] == f"shop@v{seed}", "the release")  # noqa: B023
    stop = threading.Event()
    seen: list[tuple[int, str]] = []

    def chat(http: httpx.Client, number: int) -> None:
        while not stop.is_set():
            body = {"model": "shop", "messages": [{"role": "user", "content": f"question {number}"}], "max_tokens": 6}
            answer = http.post("/v1/chat/completions", json=body)
            seen.append((answer.status_code, str(answer.json().get("model"))))

    with running.client() as http:
        customers = [threading.Thread(target=chat, args=(http, n)) for n in range(4)]
        for customer in customers:
            customer.start()
        until(lambda: len(seen) > 8, "traffic")
        done = running.run("release", "rollback", "--reason", "test")
        assert done.returncode == 0, done.stderr
        until(lambda: observed(running)["shop"][0] == "shop@v1", "the former adapter")
        count = len(seen)
        until(lambda: len(seen) > count + 12, "traffic")
        stop.set()
        for customer in customers:
            customer.join()
    assert {status for status, _ in seen} == {200}
    assert {model for _, model in seen} == {"shop@v1", "shop@v2"}
    assert seen[-1][1] == "shop@v1"
    with running.parts.store.read() as conn:
        moves = [(e.move, e.state) for e in releases.events(conn)][::-1]
    assert moves[-2:] == [("rollback", "rolled_back"), ("restore", "live")]


def test_an_adapter_trained_on_shuffled_answers_is_rejected(tmp_path: Path) -> None:
    """It learns the tone, so its loss falls. But its replies do not fit the questions, and the gate notices."""
    settings = load_settings(home=tmp_path / "home", models=models_folder(), train_steps=24, gate_min_examples=30)
    parts = Parts(settings)
    rng = random.Random(3)
    recorded = Shop(seed=3).everyday(220)
    pairs = [r.exchanges[0] for r in recorded]
    texts = [parts.scrubber.scrub([Message("user", a), Message("assistant", b)]).texts for a, b in pairs]
    examples = examples_of(settings.prompt, "chat", texts)
    holdout, others = examples[:60], examples[60:]
    shuffled = [example.reply for example in others]
    rng.shuffle(shuffled)
    train = [dataclasses.replace(e, reply=reply) for e, reply in zip(others, shuffled, strict=True)]
    train = without_overlap(train, holdout)  # the trainer refuses what is held out too
    sha = parts.artifacts.put(json.dumps(content_of(settings.prompt, train, holdout)).encode())
    dataset = add_dataset(parts, datasets.Dataset("ds_shuffled", sha, len(train), 60, None, now()))
    adapter = parts.trainer.train(new_id("run"), dataset, dataclasses.replace(recipe(settings), max_tokens=192))
    verdict = StageWork(parts).evaluate("evl_shuffled", str(adapter.ref), dataset)
    with parts.store.read() as conn:
        record = evaluations.find(conn, "evl_shuffled")
    assert record is not None
    assert verdict is Verdict.REJECT, record.evidence["figures"]
    with pytest.raises(IllegalMove, match="rejected by the gate"):
        parts.releases.start("shop", str(adapter.ref), "test")
    assert str(parts.served()) == "shop@v0"
