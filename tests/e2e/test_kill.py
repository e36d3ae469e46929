"""kill -9: nothing acknowledged is lost or doubled, and a round goes on where it was."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import sqlalchemy as sa

from shoptalk.store import arrivals, rounds, runs
from shoptalk.store.tables import feedback, inferences, turns
from tests.e2e.stack import Stack, models_folder, until

pytestmark = pytest.mark.slow
KILLS = 20


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Stack]:
    with Stack(tmp_path / "home") as stack:
        stack.start("serve")
        yield stack


class Customer(threading.Thread):
    """Chats until told to stop; repeats a request under the same idempotency key until it is acknowledged."""

    def __init__(self, stack: Stack, key: str, number: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        headers = {"Authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=stack.url, headers=headers, timeout=10, trust_env=False)
        self._number, self._halt = number, stop
        self.inferences: list[str] = []
        self.messages: list[str] = []
        self.feedback: list[str] = []

    def run(self) -> None:
        with self._http:
            self._chat()

    def _chat(self) -> None:
        turn = 0
        while not self._halt.is_set():
            turn += 1
            text = f"customer {self._number} asks question {turn} about a kettle"
            body = {"model": "shop", "messages": [{"role": "user", "content": text}]}
            body["metadata"] = {"conversation_id": f"talk-{self._number}-{turn}"}  # type: ignore[assignment]
            answer = self._until_acknowledged("/v1/chat/completions", body, {"Idempotency-Key": uuid4().hex})
            if answer is None:
                return
            self.inferences.append(str(answer["id"]))
            self.messages.append(text)
            body = {"inference_id": answer["id"], "metric": "thumbs", "value": 1, "idempotency_key": uuid4().hex}
            told = self._until_acknowledged("/v1/feedback", body, {})
            if told is not None:
                self.feedback.append(str(told["id"]))

    def _until_acknowledged(self, path: str, body: object, headers: dict[str, str]) -> dict[str, object] | None:
        while True:
            try:
                response = self._http.post(path, json=body, headers=headers)
                response.raise_for_status()
                return dict(response.json())
            except httpx.HTTPError:
                if self._halt.is_set():
                    return None
                time.sleep(0.2)


def test_the_api_killed_while_customers_chat(running: Stack) -> None:
    key = running.key()
    stop = threading.Event()
    customers = [Customer(running, key, n, stop) for n in range(4)]
    for customer in customers:
        customer.start()
    running.start("worker")
    for _ in range(KILLS):
        before = sum(len(c.inferences) for c in customers)
        until(lambda: sum(len(c.inferences) for c in customers) > before + 8, "acknowledgements")  # noqa: B023
        running.kill("serve")
        running.start("serve")
    stop.set()
    for customer in customers:
        customer.join()
    store = running.parts.store

    def drained() -> bool:
        with store.read() as conn:
            return arrivals.count(conn) == 0

    until(drained, "the drain")
    with store.read() as conn:
        kept = Counter(conn.execute(sa.select(inferences.c.id)).scalars())
        replies = Counter(conn.execute(sa.select(turns.c.inference_id).where(turns.c.role == "assistant")).scalars())
        texts = Counter(conn.execute(sa.select(turns.c.text).where(turns.c.role == "user")).scalars())
        thumbs = Counter(conn.execute(sa.select(feedback.c.id)).scalars())
    acknowledged = [i for c in customers for i in c.inferences]
    assert len(acknowledged) > 8 * KILLS
    assert [i for i in acknowledged if kept[i] != 1] == []
    assert [i for i in acknowledged if replies[i] != 1] == []
    assert [t for c in customers for t in c.messages if texts[t] != 1] == []
    assert [f for c in customers for f in c.feedback if thumbs[f] != 1] == []


def test_the_worker_killed_while_it_trains(tmp_path: Path) -> None:
    """The round goes on after a restart, trains once more and publishes one adapter."""
    values = {"train_steps": 6, "train_batch": 2, "labels_wanted": 4, "sample_size": 60, "gate_min_examples": 10_000}
    with Stack(tmp_path / "home", models=models_folder(), **values) as stack:
        stack.start("serve")
        _chat(stack, 60)
        stack.start("worker")
        store = stack.parts.store

        def drained() -> bool:
            with store.read() as conn:
                return arrivals.count(conn) == 0

        until(drained, "the drain")
        trigger = stack.parts.watcher.trigger("person", "test")
        round_id = str(until(lambda: _round_of(stack, trigger.id), "the round"))
        until(lambda: "sample" in _results(stack, round_id), "samples")
        stack.parts.annotate(lambda _: {"verdict": "fixable", "correction": "We are glad to help."}, label_studio=False)
        until(lambda: _steps_done(stack, round_id) >= 2, "training to be under way", 240)
        assert stack.run("worker", "--check").returncode == 0
        stack.kill("worker")
        until(lambda: not _training(stack), "the trainer to die with its worker", 20)
        stack.start("worker")
        state = until(lambda: _ended(stack, round_id), "the round to end", 400)
        assert state == ("done", "inconclusive")
        with store.read() as conn:
            assert [r.adapter for r in runs.newest(conn)] == ["shop@v1"]
            assert [r.state for r in runs.newest(conn)] == ["done"]


def _chat(stack: Stack, conversations: int) -> None:
    with stack.client() as http:
        for i in range(conversations):
            body = {"model": "shop", "messages": [{"role": "user", "content": f"Is kettle model {i} in stock?"}]}
            assert http.post("/v1/chat/completions", json=body).status_code == 200


def _round_of(stack: Stack, trigger_id: str) -> str | None:
    with stack.parts.store.read() as conn:
        return next((r.id for r in rounds.newest(conn) if r.trigger_id == trigger_id), None)


def _results(stack: Stack, round_id: str) -> dict[str, dict[str, object]]:
    with stack.parts.store.read() as conn:
        return rounds.results(conn, round_id)


def _steps_done(stack: Stack, round_id: str) -> int:
    with stack.parts.store.read() as conn:
        run = runs.find(conn, round_id.replace("rnd_", "run_", 1))
    return run.step if run else 0


def _training(stack: Stack) -> bool:
    """Is a training process of this stack alive?"""
    home = str(stack.settings.home)
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"training.finetune" in words and any(home.encode() in word for word in words):
            return True
    return False


def _ended(stack: Stack, round_id: str) -> tuple[str, str] | None:
    with stack.parts.store.read() as conn:
        found = rounds.find(conn, round_id)
    return (found.state, found.step) if found and found.state in ("done", "failed") else None
