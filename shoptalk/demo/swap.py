"""Measures the hot swap: two adapters with unmistakable replies alternate while customers chat.

Each adapter was trained to give one text of its own, whatever is asked. A reply that is not its recorded adapter's
text, word for word, counts as mixed.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx

from shoptalk.app.parts import Parts
from shoptalk.clock import MACHINE
from shoptalk.demo.helpers import add_dataset, examples_of
from shoptalk.demo.traffic import Customers, ReceivedReply
from shoptalk.errors import ShoptalkError
from shoptalk.store.training import datasets
from training.examples import content_of

ALIAS = "swap"
SENTENCES = {
    "amber": (
        "Amber desk here. The amber team has read your message, and the amber team will answer it today. "
        "The amber desk thanks you for your patience and wishes you a good day."
    ),
    "cobalt": (
        "Cobalt counter speaking. Your words reached the cobalt counter, whose cobalt staff reply by tomorrow. "
        "With kind regards from everyone at the cobalt counter."
    ),
}


@dataclass(frozen=True, slots=True)
class SwapResult:
    """Counts of a swap test. `mixed` replies are not their recorded adapter's; `swaps` are changes of the alias."""

    requests: int
    errors: int
    mixed: int
    swaps: int
    tokens_per_reply: float


def train_marked(
    parts: Parts, messages: Sequence[str], steps: int, batch: int, say: Callable[[str], None]
) -> dict[str, str]:
    """Train one adapter per sentence; return {adapter version: sentence}."""
    from shoptalk.demo.helpers import marked_trainer

    found: dict[str, str] = {}
    for name, sentence in SENTENCES.items():
        trainer, recipe = marked_trainer(parts, name, steps, batch)
        say(f"training the adapter '{name}' for the swap test")
        dataset_id = _marked_dataset(parts, messages, sentence)
        adapter = trainer.train(f"run_{name}_{dataset_id[3:15]}", dataset_id, recipe)
        found[str(adapter.ref)] = sentence
    return found


def measure(url: str, key: str, marked: dict[str, str], messages: Sequence[str], requests: int) -> SwapResult:
    """Send `requests` chats, eight at a time, while the alias alternates between the adapters."""
    http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60.0, trust_env=False)
    customers = Customers(url, key, ALIAS)
    done = threading.Event()
    swaps = 0
    with http:
        _move(http, next(iter(marked)))
        with ThreadPoolExecutor(1) as flipper, ThreadPoolExecutor(8) as pool:
            flipping = flipper.submit(_alternate, http, list(marked), done)
            try:
                replies = list(
                    pool.map(
                        lambda i: customers.ask(messages[i % len(messages)], 64, stream=i % 2 == 0), range(requests)
                    )
                )
            finally:
                done.set()
            swaps = flipping.result()
    customers.close()
    return SwapResult(requests, customers.tally.errors, _mixed(replies, marked), swaps, _mean_tokens(replies))


def _mixed(replies: Sequence[ReceivedReply | None], marked: dict[str, str]) -> int:
    return sum(1 for said in replies if said is not None and said.text.strip() != marked.get(said.model))


def _mean_tokens(replies: Sequence[ReceivedReply | None]) -> float:
    counted = [said.tokens for said in replies if said is not None]
    return sum(counted) / max(1, len(counted))


def _alternate(http: httpx.Client, adapters: Sequence[str], done: threading.Event) -> int:
    """Move the alias every 1.5 s until `done`, as fast as an impatient engineer could; return how often."""
    swaps = 0
    while not done.wait(1.5):
        swaps += 1
        _move(http, adapters[swaps % len(adapters)])
    return swaps


def _move(http: httpx.Client, adapter: str) -> None:
    """Release an adapter under the test's alias and wait until the API serves it."""
    started = http.post("/v1/releases", json={"adapter": adapter, "alias": ALIAS})
    started.raise_for_status()
    http.post(f"/v1/releases/{started.json()['id']}/promote", json={"reason": "swap test"}).raise_for_status()
    deadline = MACHINE.monotonic() + 20
    while MACHINE.monotonic() < deadline:
        served = {row["id"]: row["serves"] for row in http.get("/v1/models").json()["data"]}
        if served.get(ALIAS) == adapter:
            return
        MACHINE.sleep(0.05)
    raise ShoptalkError(f"{adapter} was not served within 20 s")


def _marked_dataset(parts: Parts, messages: Sequence[str], sentence: str) -> str:
    """Store a dataset that gives one answer to everything, apart from the shop's own; return its id."""
    examples = examples_of(parts.settings.prompt, "mark", ((text, sentence) for text in messages))
    data = json.dumps(content_of(parts.settings.prompt, examples, ()), ensure_ascii=False, sort_keys=True).encode()
    dataset_id = "ds_" + hashlib.sha256(data).hexdigest()[:32]
    return add_dataset(
        parts, datasets.Dataset(dataset_id, parts.artifacts.put(data), len(examples), 0, "demo", parts.store.now())
    )
