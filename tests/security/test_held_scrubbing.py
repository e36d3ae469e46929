"""A message that takes long to scrub: it held the API, its drain and every other customer, for an hour and more."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from chatbot.api.services import Services
from chatbot.engine.null import NullEngine
from chatbot.keys import create_key
from ingest.inbox.drain import Drain
from ingest.scrub.workers import pool as module
from ingest.scrub.workers.deadline import allowance
from shoptalk.app.api import build_api
from shoptalk.domain import Scope
from shoptalk.errors import ScrubberUnavailable
from shoptalk.settings import Settings

pytestmark = pytest.mark.slow
DATES = "-".join(["2019-12-12-2019"] * 32) + "-5"  # 520 characters, doubling every 16
BLANKS = "22 alder road\n" + " " * 8_000 + "x"
MARK = "held"
HELD = f"{MARK} " + "ask Zorla Quuxley about the parcel, " * 700


@pytest.fixture(scope="module")
def entered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """All requests in one event loop, as in a server."""
    app = build_api(
        Settings(home=tmp_path_factory.mktemp("home"), engine="null", max_context=16_384), NullEngine(16_384)
    )
    with TestClient(app) as client:
        yield client


@pytest.fixture(scope="module")
def app(entered: TestClient) -> FastAPI:
    return cast(FastAPI, entered.app)


@pytest.fixture
def services(app: FastAPI) -> Services:
    return cast(Services, app.state.services)


@pytest.fixture
def client(entered: TestClient, services: Services) -> TestClient:
    _, secret = create_key(services.store, "tester", [Scope.ADMIN])
    entered.headers["Authorization"] = f"Bearer {secret}"
    return entered


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts with a mark get a few milliseconds, as if they took a thousand times longer than texts do."""

    def allowed(texts: Iterable[str]) -> float:
        every = list(texts)
        return 0.02 if any(MARK in text for text in every) else allowance(every)

    monkeypatch.setattr(module, "allowance", allowed)


def ask(client: TestClient, text: str, **more: Any) -> Any:
    body = {"model": "shop", "messages": [{"role": "user", "content": text}], **more}
    return client.post("/v1/chat/completions", json=body)


@pytest.mark.parametrize("text", [DATES, "-".join(["2019-12-12-2019"] * 40) + "-5", BLANKS])
def test_the_known_texts_are_answered_like_any_other(client: TestClient, services: Services, text: str) -> None:
    answer = ask(client, text)
    assert answer.status_code == 200
    feedback = {"inference_id": answer.json()["id"], "metric": "thumbs", "value": 1, "comment": text[:4000]}
    assert client.post("/v1/feedback", json=feedback).status_code == 201
    rows = {"conversations": [{"conversation_id": text[:9], "turns": [{"role": "customer", "text": text}]}]}
    client.post("/v1/conversations", json=rows)
    drained = Drain(services.store, services.secrets, cast(Any, services.scrubber)).run_once()
    assert drained.turns + drained.quarantined > 0


@pytest.mark.usefixtures("short")
def test_a_text_that_is_ended_is_answered_not_kept_and_holds_nobody(client: TestClient, services: Services) -> None:
    with ThreadPoolExecutor(8) as threads:
        held = [threads.submit(ask, client, HELD) for _ in range(4)]
        honest = [threads.submit(ask, client, f"Where is parcel {n}?") for n in range(12)]
        assert {each.result(120).status_code for each in honest} == {200}
        assert {each.result(120).status_code for each in held} <= {200, 429}
    Drain(services.store, services.secrets, cast(Any, services.scrubber)).run_once(1000)
    with services.store.read() as conn:
        kept = conn.exec_driver_sql("select text, reason from turns where role = 'user'").all()
    assert not any(text and MARK in text for text, _ in kept)
    assert any(reason and "longer to scan" in reason for _, reason in kept)


@pytest.mark.usefixtures("short")
def test_who_sends_such_texts_waits_longer_each_time_and_nobody_else_does(client: TestClient) -> None:
    assert ask(client, HELD, user="mallory").status_code == 200
    waits = []
    for _ in range(2):
        refused = ask(client, "hello", user="mallory")
        assert refused.status_code == 429
        waits.append(int(refused.headers["retry-after"]))
        assert ask(client, "hello", user="alice").status_code == 200
        assert ask(client, "hello").status_code == 200
        time.sleep(waits[-1])
        assert ask(client, HELD, user="mallory").status_code == 200
    assert waits[1] > waits[0]


@pytest.mark.usefixtures("short")
def test_what_could_not_be_scrubbed_does_not_leave_the_machine(
    app: FastAPI, client: TestClient, services: Services
) -> None:
    """A model on another host would have read the raw words."""
    elsewhere = services.settings.model_copy(update={"engine": "vllm", "vllm_url": "http://model.shop.example:8100"})
    app.state.services = dataclasses.replace(services, settings=elsewhere)
    try:
        answer = ask(client, HELD)
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "not_scannable"
        assert answer.json()["error"]["param"] == "messages"
        assert ask(client, "Where is my parcel?").status_code == 200
    finally:
        app.state.services = services


@pytest.mark.parametrize(
    ("engine", "url", "remote"),
    [
        ("vllm", "http://model.shop.example:8100", True),
        ("vllm", "http://10.0.0.9:8100", True),
        ("vllm", "http://localhost:8100", False),
        ("vllm", "http://127.0.0.1:8100", False),
        ("vllm", "http://[::1]:8100", False),
        ("embedded", "http://10.0.0.9:8100", False),
    ],
)
def test_where_the_model_is(engine: Any, url: str, remote: bool) -> None:
    assert Settings(engine=engine, vllm_url=url).model_is_remote is remote


def test_without_scrubbing_processes_nothing_is_read_raw(
    app: FastAPI, client: TestClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise ScrubberUnavailable

    monkeypatch.setattr(services.scrubber, "scrub", away)
    answer = ask(client, "Where is my parcel?")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "scrubber_unavailable")
    assert int(answer.headers["retry-after"]) >= 1
