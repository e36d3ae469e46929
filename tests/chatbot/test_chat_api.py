"""The chat and feedback routes over HTTP, on the null engine: what is refused, what is kept, what is repeated."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest
from fastapi import FastAPI, Request
from starlette.testclient import TestClient

from chatbot.api.completion import Shapes
from chatbot.api.exchange import Exchange, Reply
from chatbot.api.idempotency import RepeatableRequest
from chatbot.api.routes.chat import Generation, _plain
from chatbot.api.services import Services
from chatbot.engine.null import NullEngine
from chatbot.engine.protocol import Delta, Finished, GenerationRequest, OnEvent
from chatbot.keys import create_key
from chatbot.router import Route
from shoptalk.app.api import build_api
from shoptalk.domain import AdapterRef, Scope
from shoptalk.errors import EngineUnavailable, NotFound
from shoptalk.settings import Settings

pytestmark = pytest.mark.slow

HELLO = [{"role": "user", "content": "Where is my order?"}]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    app = build_api(Settings(home=tmp_path_factory.mktemp("home"), engine="null", max_context=256), NullEngine())
    with TestClient(app):
        yield app


@pytest.fixture
def services(app: FastAPI) -> Services:
    return cast(Services, app.state.services)


@pytest.fixture
def client(app: FastAPI, services: Services) -> TestClient:
    _, secret = create_key(services.store, "tester", [Scope.ADMIN])
    return TestClient(app, headers={"Authorization": f"Bearer {secret}"})


def ask(client: TestClient, key: str | None = None, **changes: Any) -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    return client.post("/v1/chat/completions", json={"model": "shop", "messages": HELLO, **changes}, headers=headers)


def test_a_hopelessly_long_chat_is_refused_before_anything_is_scrubbed(
    client: TestClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("scrubbed")

    monkeypatch.setattr("chatbot.api.prepare._scrub", never)
    answer = ask(client, messages=[{"role": "user", "content": "a" * 4100}, *HELLO] * 2)
    assert answer.status_code == 400
    assert (answer.json()["error"]["code"], answer.json()["error"]["param"]) == ("context_length_exceeded", "messages")


def test_a_repeated_request_gets_the_same_answer_and_the_clients_id_is_not_kept(
    client: TestClient, services: Services
) -> None:
    mine = {"metadata": {"conversation_id": "jo@shop.example"}}
    first, again = ask(client, "k1", **mine), ask(client, "k1", **mine)
    assert first.json()["metadata"] == again.json()["metadata"] == mine["metadata"]
    assert (first.json()["id"], again.headers["idempotent-replay"]) == (again.json()["id"], "true")
    kept = [services.secrets.decrypt(row[0]) for row in _rows(services, "select body from answers")]
    assert kept
    assert "jo@shop.example" not in repr(kept)
    made_up = [ask(client, "k2").json()["metadata"]["conversation_id"] for _ in range(2)]
    assert made_up[0] == made_up[1]


def test_feedback_repeated_is_kept_once_and_changed_is_refused(client: TestClient) -> None:
    inference = ask(client).json()["id"]
    body = {"inference_id": inference, "metric": "thumbs", "value": 1, "idempotency_key": "f1"}
    first, again = (client.post("/v1/feedback", json=body) for _ in range(2))
    assert (first.status_code, first.json()["recorded"]) == (201, True)
    assert (again.status_code, again.json()) == (201, {**first.json(), "recorded": False})
    changed = client.post("/v1/feedback", json={**body, "value": 0})
    assert changed.status_code == 409
    assert client.post("/v1/feedback", json={**body, "idempotency_key": "f2", "value": 0}).json()["recorded"]


def test_the_customers_record_helps_and_is_not_kept(client: TestClient, services: Services) -> None:
    record = {"customer": {"name": "Blessing Oyelaran", "other": ["purple lamp"]}}
    messages = [{"role": "user", "content": "oyelarn here, about the purple lamp"}]
    answer = ask(client, "k-record", messages=messages, **record)
    again = ask(client, "k-record", messages=messages, **record)
    assert (answer.status_code, again.json()) == (200, answer.json())
    kept = [services.secrets.decrypt(row[0]) for row in _rows(services, "select body from arrivals")]
    said = [turn["text"] for body in kept for turn in body.get("turns", ())]
    assert "<PERSON_1> here, about the <NUMBER_1>" in said
    assert "oyel" not in repr(kept).lower()
    assert "lamp" not in repr(kept).lower()
    for wrong in ({"customer": 3}, {"customer": {"nose": "x"}}, {"customer": {"name": ["x"] * 21}}):
        assert ask(client, messages=messages, **wrong).status_code == 400


def test_feedback_may_come_before_its_reply_is_stored(client: TestClient, services: Services) -> None:
    body = {"inference_id": "inf_" + "0" * 32, "metric": "thumbs", "value": 1}
    answer = client.post("/v1/feedback", json=body)
    assert (answer.status_code, answer.json()["recorded"], answer.json()["pending"]) == (202, True, True)
    kept = services.secrets.decrypt(
        _rows(services, "select body from arrivals where conversation_id like 'inf_%'")[0][0]
    )
    assert kept["caller"] == {"owner": kept["caller"]["owner"], "customer": None}
    assert kept["caller"]["owner"].startswith("key_")
    assert client.post("/v1/feedback", json={**body, "inference_id": "inf_unlike"}).status_code == 404


def test_what_waits_for_a_worker_is_in_the_metrics(client: TestClient, services: Services) -> None:
    ask(client)
    shown = dict(line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if line.startswith("shop"))
    waiting = _rows(services, "select count(*) from arrivals")[0][0]
    assert float(shown["shoptalk_arrivals_waiting"]) == waiting >= 1
    assert 0 <= float(shown["shoptalk_arrivals_oldest_seconds"]) < 3600


def test_a_corrections_comment_is_refused_rather_than_dropped(client: TestClient) -> None:
    body = {"inference_id": ask(client).json()["id"], "metric": "correction", "value": "Better.", "comment": "because"}
    answer = client.post("/v1/feedback", json=body)
    assert answer.status_code in (400, 422)
    assert "comment" in answer.json()["error"]["message"]


class GoneClient:
    """A request whose client has disconnected."""

    async def receive(self) -> dict[str, str]:
        return {"type": "http.disconnect"}


def test_what_a_client_that_left_was_not_shown_is_no_answer_to_its_next_try(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[object] = []

    def record(exchange: Exchange, reply: Reply, answer: object) -> None:
        kept.append(answer)

    monkeypatch.setattr(services.recorder, "record", record)
    route = Route("shop", AdapterRef("shop", 0), "live", 1.0)
    repeatable = RepeatableRequest("ans_1", "body")
    exchange = Exchange("con_1", "x", "key_1", None, [], [], None, "none", route, True, repeatable)

    async def run(reason: Any) -> None:
        generation = Generation(exchange, asyncio.Queue(), wants_logprobs=False)
        generation.events.put_nowait(Delta("Your or"))
        generation.events.put_nowait(Finished(reason, "Your or", 3, 2, 1.0, 2.0, -0.1))
        await _plain(services, cast(Request, GoneClient()), generation, Shapes(exchange, "f"), {})

    asyncio.run(run("cancelled"))
    asyncio.run(run("stop"))
    assert kept[0] is None
    assert kept[1] is not None


def test_an_alias_that_moved_on_while_a_request_was_prepared_fails_nothing(
    app: FastAPI, client: TestClient, services: Services
) -> None:
    """The adapter resolved first is unloaded by the time it is asked for; the request takes the one served now."""
    moved = threading.Event()

    class Moving(NullEngine):
        def submit(self, request: GenerationRequest, on_event: OnEvent) -> None:
            if not moved.is_set():
                moved.set()
                raise NotFound("adapter shop@v0 is not resident")
            super().submit(request, on_event)

    engine = Moving()
    engine.start()
    app.state.services = dataclasses.replace(services, engine=engine)
    try:
        assert ask(client).status_code == 200
        assert moved.is_set()
    finally:
        app.state.services = services


def test_a_model_server_that_is_away_says_when_to_come_back(
    app: FastAPI, client: TestClient, services: Services
) -> None:
    class Away(NullEngine):
        def submit(self, request: GenerationRequest, on_event: OnEvent) -> None:
            raise EngineUnavailable(retry_after=7.0)

    app.state.services = dataclasses.replace(services, engine=Away())
    try:
        answer = ask(client)
    finally:
        app.state.services = services
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")


def _rows(services: Services, query: str) -> list[Any]:
    import sqlalchemy as sa

    with services.store.read() as conn:
        return list(conn.execute(sa.text(query)))
