"""The chat route over the embedded engine: adapters loaded when asked for, what is shared, who leaves while waiting."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from fastapi import FastAPI, Request
from starlette.testclient import TestClient

from chatbot.api.caller import Caller
from chatbot.api.exchange import Exchange
from chatbot.api.limits.admission import Admission
from chatbot.api.routes.chat import Generation, _cancelled_by_leaving, _next, _submit
from chatbot.api.schemas import ChatRequest
from chatbot.api.services import Services
from chatbot.engine.embedded import EmbeddedEngine
from chatbot.engine.limits import EngineLimits
from chatbot.engine.protocol import Finished
from chatbot.keys import create_key
from chatbot.router import Route
from shoptalk.app.api import build_api
from shoptalk.app.parts import Parts
from shoptalk.domain import AdapterRef, Message, Scope
from shoptalk.models.adapterfile import AdapterFiles
from shoptalk.models.basemodel import BaseModel
from shoptalk.settings import Settings
from tests.shoptalk.adapters import adapter

pytestmark = pytest.mark.slow

SLOTS = 2


class Counting(EmbeddedEngine):
    """Remembers what was loaded."""

    loads: list[AdapterRef]

    def load(self, adapter: AdapterRef, files: AdapterFiles) -> None:
        self.loads.append(adapter)
        super().load(adapter, files)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, tiny_base: BaseModel) -> Iterator[TestClient]:
    """Entered, so that all its threads' requests run in one event loop, as a server's do."""
    engine = Counting(tiny_base, torch.float32, EngineLimits(2, 512, 64, SLOTS, 8, 1))
    engine.loads = []
    app = build_api(Settings(home=tmp_path_factory.mktemp("home"), adapter_slots=SLOTS, max_context=512), engine)
    services: Services = app.state.services
    _, secret = create_key(services.store, "tester", [Scope.ADMIN])
    with TestClient(app, headers={"Authorization": f"Bearer {secret}"}) as client:
        yield client


@pytest.fixture
def services(client: TestClient) -> Services:
    return cast(Services, cast(FastAPI, client.app).state.services)


def publish(services: Services, base: BaseModel, seed: int) -> AdapterRef:
    registry = Parts(services.settings).registry
    return registry.publish("shop", adapter(seed), base_sha256=base.sha256).ref


def ask(client: TestClient, model: object, text: str = "Where is my order?", **changes: Any) -> Any:
    body = {"model": str(model), "messages": [{"role": "user", "content": text}], "max_tokens": 4, **changes}
    return client.post("/v1/chat/completions", json=body)


def test_an_adapter_many_ask_for_at_once_is_loaded_once(
    client: TestClient, services: Services, tiny_base: BaseModel
) -> None:
    ref = publish(services, tiny_base, 1)
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: ask(client, ref), range(12)))
    assert [a.status_code for a in answers] == [200] * 12
    assert {a.json()["model"] for a in answers} == {str(ref)}
    assert cast(Counting, services.engine).loads.count(ref) == 1


def test_more_hot_adapters_than_slots_are_answered_or_told_to_wait(
    client: TestClient, services: Services, tiny_base: BaseModel
) -> None:
    refs = [publish(services, tiny_base, 10 + n) for n in range(SLOTS + 2)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: ask(client, refs[n % len(refs)]), range(64)))
    found = Counter(a.status_code for a in answers)
    assert set(found) <= {200, 429}
    assert found[200] > len(refs)
    assert all(a.headers["Retry-After"] for a in answers if a.status_code == 429)
    assert all(a.json()["model"] == str(refs[n % len(refs)]) for n, a in enumerate(answers) if a.status_code == 200)
    assert len(services.engine.resident()) <= SLOTS


def test_an_adapter_that_is_refused_is_the_shops_fault_and_nobody_elses_trouble(
    client: TestClient, services: Services, tiny_base: BaseModel
) -> None:
    ref = publish(services, tiny_base, 20)
    parts = Parts(services.settings)
    path = Path(parts.artifacts.path_of(parts.registry.find(ref).weights_sha256))
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    answer = ask(client, ref)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_stopped")
    assert "cannot be loaded" in answer.json()["error"]["message"]
    assert ask(client, "shop@v0").status_code == 200


def test_customers_share_the_shops_own_words_and_nothing_else(client: TestClient) -> None:
    """What is cached for one must not tell another what somebody said."""

    def cached(user: str, text: str) -> int:
        answer = ask(client, "shop@v0", text, user=user)
        return int(answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"])

    secret = "The parcel with the violet lamp never came, what now?"
    cached("ann", secret)
    same, other = cached("bob", secret), cached("cem", "Do you sell gift cards?")
    assert same == other > 0
    assert cached("ann", secret) > same


class GoneClient:
    """Hung up before anything was said."""

    async def receive(self) -> dict[str, str]:
        return {"type": "http.disconnect"}


def test_who_leaves_while_waiting_is_not_computed(services: Services) -> None:
    route = Route("shop", AdapterRef("shop", 0), "live", 1.0)
    caller = Caller("key_1", frozenset({Scope.CHAT}), "key_1")
    here = Admission("198.51.100.1", "keys")

    def exchange(name: str) -> Exchange:
        chat = [Message("user", "Where is my order?")]
        return Exchange("con_1", "x", "key_1", None, [], chat, None, "none", route, id=name)

    def body(tokens: int) -> ChatRequest:
        words = [{"role": "user", "content": "Hi"}]
        return ChatRequest.model_validate(
            {"model": "shop", "messages": words, "max_tokens": tokens, "ignore_eos": True, "stream": True}
        )

    async def run() -> Finished:
        busy = [
            await _submit(services, caller, here, exchange(f"inf_{n}"), body(400)) for n in range(2)
        ]  # the whole batch
        waiting: Generation = await _submit(services, caller, here, exchange("inf_gone"), body(8))
        async with _cancelled_by_leaving(services, cast(Request, GoneClient()), waiting):
            end = await _next(services, waiting)
        assert all(generation.finished is None for generation in busy)
        for generation in busy:
            services.engine.cancel(generation.exchange.id)
            while not isinstance(await _next(services, generation), Finished):
                pass
        assert isinstance(end, Finished)
        return end

    end = asyncio.run(run())
    assert (end.reason, end.completion_tokens) == ("cancelled", 0)
