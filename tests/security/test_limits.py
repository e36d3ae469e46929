"""One visitor, however many cookies it takes, cannot keep other customers from being answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from fastapi import FastAPI
from starlette.testclient import TestClient

from chatbot.engine.embedded import EmbeddedEngine
from chatbot.engine.limits import EngineLimits
from chatbot.keys import create_key
from shoptalk.app.api import build_api
from shoptalk.domain import Scope
from shoptalk.models.basemodel import BaseModel
from shoptalk.settings import Settings
from tests.conftest import KERNELS

pytestmark = pytest.mark.slow
ORIGIN = {"Origin": "http://testserver"}
BATCH, QUEUE, CONTEXT = 4, 8, 1024
COSTLY = {"ignore_eos": True, "min_tokens": 8192, "max_tokens": 8192, "logprobs": True, "top_logprobs": 20}
PLAIN = {"max_tokens": 8192}


@pytest.fixture
def app(tiny_base: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    settings = Settings(
        home=tmp_path_factory.mktemp("home"), max_batch=BATCH, max_queue=QUEUE, max_context=CONTEXT, threads=1
    )
    engine = EmbeddedEngine(tiny_base, torch.float32, EngineLimits(BATCH, CONTEXT, QUEUE, 2, 8, 1, kernels=KERNELS))
    app = build_api(settings, engine)
    with TestClient(app):
        yield app


@dataclass
class Attacker:
    """Asks again and again from one address, each time with a new cookie, and never waits for an answer."""

    app: FastAPI
    knobs: dict[str, Any]
    address: str = "203.0.113.9"
    statuses: list[int] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def ask(self) -> None:
        thread = threading.Thread(target=self._ask, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _ask(self) -> None:
        browser = TestClient(self.app, headers=ORIGIN, client=(self.address, 50000))
        browser.get("/")
        messages = [{"role": "user", "content": f"Tell me more than ever ({len(self.threads)})"}]
        answer = browser.post("/v1/chat/completions", json={"model": "shop", "messages": messages, **self.knobs})
        self.statuses.append(answer.status_code)


def customer(app: FastAPI) -> TestClient:
    _, secret = create_key(app.state.services.store, "shop", [Scope.CHAT])
    return TestClient(app, headers={"Authorization": f"Bearer {secret}"}, client=("198.51.100.1", 40000))


def hello(client: TestClient, number: int) -> int:
    messages = [{"role": "user", "content": f"Where is my order? ({number})"}]
    return client.post(
        "/v1/chat/completions", json={"model": "shop", "messages": messages, "max_tokens": 4}
    ).status_code


@pytest.mark.parametrize("knobs", [COSTLY, PLAIN], ids=["costly", "plain"])
def test_an_anonymous_visitor_cannot_keep_customers_at_429(app: FastAPI, knobs: dict[str, Any]) -> None:
    attacker, shop = Attacker(app, knobs), customer(app)
    for _ in range(2 * (BATCH + QUEUE)):
        attacker.ask()
        time.sleep(0.02)
    found = []
    for number in range(8):
        attacker.ask()
        found.append(hello(shop, number))
    assert found == [200] * 8
    figures = app.state.services.engine.metrics()
    assert figures["rows_visitors"] <= BATCH // 2
    assert figures["waiting_visitors"] <= QUEUE // 2
    assert set(attacker.statuses) <= ({403, 429} if knobs is COSTLY else {200, 429})
