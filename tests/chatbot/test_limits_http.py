"""The limits over HTTP, on the null engine: who is refused what, with which words and headers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from chatbot.api.limits.admission import Admission
from chatbot.engine.null import NullEngine
from chatbot.keys import create_key
from ingest import scrub
from shoptalk.app.api import build_api
from shoptalk.domain import KeyLimits, Scope
from shoptalk.settings import Settings
from shoptalk.store.chat import keys

pytestmark = pytest.mark.slow

ORIGIN = {"Origin": "http://testserver"}
HELLO = [{"role": "user", "content": "Where is my order?"}]
CHAT = "/v1/chat/completions"


class World:
    """An application with few allowed, and clients at addresses."""

    def __init__(self, home: Path, **values: Any) -> None:
        self.app: FastAPI = build_api(Settings(home=home, engine="null", **values), NullEngine())
        self.services = self.app.state.services

    def at(self, address: str, **headers: str) -> TestClient:
        return TestClient(self.app, client=(address, 1234), headers=headers)

    def visitor(self, address: str, **headers: str) -> TestClient:
        client = self.at(address, **ORIGIN, **headers)
        assert client.get("/").status_code == 200
        return client

    def shop(self, limits: KeyLimits | None = None, address: str = "198.51.100.1") -> TestClient:
        _, secret = create_key(self.services.store, "shop", [Scope.CHAT], limits=limits or KeyLimits())
        return self.at(address, Authorization=f"Bearer {secret}")

    def refusals(self) -> dict[str, float]:
        text = self.at("127.0.0.1").get("/metrics").text
        return {k: float(v) for k, v in re.findall(r"shoptalk_refusals_total\{(.*)\} (\S+)", text)}


@pytest.fixture(scope="module", autouse=True)
def _one_scrubber() -> Iterator[None]:
    """For all applications of these tests: making one takes seconds."""
    shared = scrub.build_scrubber(Settings())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scrub, "build_scrubber", lambda *_, **__: shared)
        patch.setattr(shared, "close", lambda: None)  # an application that ends leaves it to the others
        yield
    shared.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(
        tmp_path, visitor_messages_per_minute=3, address_messages_per_minute=5, address_requests_per_minute=60
    )
    with TestClient(world.app):
        yield world


def ask(client: TestClient, **changes: Any) -> Any:
    return client.post(CHAT, json={"model": "shop", "messages": HELLO, **changes})


def refused(answer: Any, status: int = 429) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    if status == 429:
        assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.headers["x-content-type-options"] == "nosniff"
    return error


def test_a_visitor_sees_what_is_left_and_is_refused_in_words(world: World) -> None:
    visitor = world.visitor("203.0.113.1")
    answers = [ask(visitor) for _ in range(3)]
    assert [a.status_code for a in answers] == [200] * 3
    assert [a.headers["x-ratelimit-remaining-requests"] for a in answers] == ["2", "1", "0"]
    assert answers[0].headers["x-ratelimit-limit-requests"] == "3"
    assert re.fullmatch(r"(\d+m)?[0-9.]+s", answers[2].headers["x-ratelimit-reset-requests"])
    assert int(answers[2].headers["x-ratelimit-remaining-tokens"]) < 20_000
    answer = ask(visitor)
    assert "3 messages a minute of a visitor" in refused(answer)["message"]
    assert 15 <= int(answer.headers["retry-after"]) <= 20
    assert world.refusals() == {'lane="visitors",reason="messages a minute of a visitor"': 1}


def test_another_cookie_is_no_other_client(world: World) -> None:
    statuses = [ask(world.visitor("203.0.113.1")).status_code for _ in range(7)]
    assert statuses == [200] * 5 + [429] * 2
    assert ask(world.visitor("203.0.113.2")).status_code == 200
    other = world.visitor("2001:db8:1:2::1")
    assert [ask(other).status_code for _ in range(3)] == [200] * 3
    assert [ask(world.visitor(f"2001:db8:1:2::{n}")).status_code for n in range(3)] == [200, 200, 429]


def test_cookies_cost_their_address(world: World) -> None:
    codes = [world.at("203.0.113.1").get("/").status_code for _ in range(14)]
    assert codes == [200] * 10 + [429] * 4  # a page and a session are six requests
    assert world.at("203.0.113.2").get("/").status_code == 200


def test_forwarded_headers_of_anybody_change_nothing(world: World) -> None:
    statuses = [ask(world.visitor("203.0.113.1", **{"X-Forwarded-For": f"9.9.9.{n}"})).status_code for n in range(6)]
    assert statuses == [200] * 5 + [429]


def test_behind_a_named_proxy_each_has_a_limit_of_its_own(tmp_path: Path) -> None:
    world = World(tmp_path, address_messages_per_minute=1, trusted_proxies=["10.0.0.0/8"])
    with TestClient(world.app):
        codes = [ask(world.visitor("10.0.0.1", **{"X-Forwarded-For": f"9.9.9.{n}"})).status_code for n in (1, 2, 2, 3)]
        assert codes == [200, 200, 429, 200]
        flags = world.at("10.0.0.1", **{"X-Forwarded-Proto": "https"}).get("/").headers["set-cookie"]
        assert "Secure" in flags
        assert "Secure" not in world.at("10.0.0.1").get("/").headers["set-cookie"]
    assert not world.services.settings.unnamed_proxies_path.exists()


def test_what_an_unnamed_proxy_sends_is_kept_for_the_doctor(world: World) -> None:
    world.visitor("172.17.0.1", **{"X-Forwarded-For": "9.9.9.9"})
    assert json.loads(world.services.settings.unnamed_proxies_path.read_text()) == {"peers": ["172.17.0.1"]}


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("ignore_eos", {"ignore_eos": True}),
        ("min_tokens", {"min_tokens": 8192}),
        ("logprobs", {"logprobs": True, "top_logprobs": 20}),
        ("seed", {"seed": 1}),
        ("customer", {"customer": {"name": "x"}}),
        ("model", {"model": "shop@v0"}),
    ],
)
def test_what_costs_more_needs_a_key(world: World, field: str, body: dict[str, Any]) -> None:
    error = refused(ask(world.visitor("203.0.113.1"), **body), 403)
    assert (error["type"], error["param"]) == ("permission_error", field)
    assert ask(world.shop(), **body).status_code == 200


@pytest.mark.parametrize(
    ("field", "messages"),
    [
        ("messages.0.content", [{"role": "user", "content": "word " * 801}]),
        ("messages", [{"role": "user", "content": "x"}] * 61),
        ("messages", [{"role": "user", "content": "ninewords " * 390}] * 5),
    ],
)
def test_a_visitors_messages_are_shorter(world: World, field: str, messages: list[dict[str, str]]) -> None:
    error = refused(ask(world.visitor("203.0.113.1"), messages=messages), 400)
    assert (error["code"], error["param"]) == ("context_length_exceeded", field)
    assert ask(world.shop(), messages=messages).status_code == 200


def test_a_visitors_reply_is_no_longer_than_allowed(tmp_path: Path) -> None:
    world = World(tmp_path, visitor_max_tokens=3)
    with TestClient(world.app):
        answer = ask(world.visitor("203.0.113.1"), max_tokens=500).json()
        assert (answer["usage"]["completion_tokens"], answer["choices"][0]["finish_reason"]) == (3, "length")
        assert ask(world.shop(), max_tokens=10).json()["usage"]["completion_tokens"] == 10


def test_a_visitors_body_is_bounded_before_it_is_read_whole(world: World) -> None:
    padded = {"model": "shop", "messages": HELLO, "x": "x" * 300_000}
    assert world.visitor("203.0.113.1").post(CHAT, json=padded).status_code == 413
    assert world.shop().post(CHAT, json=padded).status_code == 200


def test_refusals_come_before_the_body_and_the_database(world: World) -> None:
    visitor = world.visitor("203.0.113.1")
    for _ in range(3):
        ask(visitor)
    with world.services.store.write():  # nobody else can write now
        assert visitor.post(CHAT, content=b"no json").status_code == 429


def test_an_api_keys_own_limits(world: World) -> None:
    shop = world.shop(KeyLimits(requests_per_minute=2))
    answers = [ask(shop) for _ in range(3)]
    assert [a.status_code for a in answers] == [200, 200, 429]
    assert [a.headers["x-ratelimit-remaining-requests"] for a in answers] == ["1", "0", "0"]
    assert "2 requests a minute of this API key" in refused(answers[2])["message"]
    assert ask(world.shop()).status_code == 200
    assert "x-ratelimit-limit-requests" not in ask(world.shop()).headers


def test_a_daily_quota_is_kept_in_the_database(tmp_path: Path) -> None:
    world = World(tmp_path)
    with TestClient(world.app):
        used = ask(world.shop()).json()["usage"]["total_tokens"]
        shop = world.shop(KeyLimits(tokens_per_day=2 * used + 1))
        answers = [ask(shop) for _ in range(5)]
        assert [a.status_code for a in answers] == [200, 200, 200, 429, 429]
        assert f"{2 * used + 1} tokens a day" in refused(answers[3])["message"]
        shown = [a.headers["x-ratelimit-remaining-tokens"] for a in answers[:4]]
        assert shown == [str(2 * used + 1), str(used + 1), "1", "0"]
        assert "x-ratelimit-limit-requests" not in answers[0].headers
    again = World(tmp_path)
    with TestClient(again.app):
        shop = TestClient(again.app, headers=shop.headers)
        assert ask(shop).status_code == 429


def test_with_buckets_in_the_database_processes_share_a_limit(tmp_path: Path) -> None:
    worlds = [World(tmp_path, rate_limits="database", visitor_messages_per_minute=4) for _ in range(2)]
    with TestClient(worlds[0].app), TestClient(worlds[1].app):
        visitor = worlds[0].visitor("203.0.113.1")
        other = TestClient(worlds[1].app, headers=ORIGIN, cookies=visitor.cookies, client=("203.0.113.1", 1))
        codes = [ask(client).status_code for _ in range(4) for client in (visitor, other)]
        assert sorted(codes) == [200] * 4 + [429] * 4


def test_wrong_keys_are_refused_after_some_and_right_ones_never(tmp_path: Path) -> None:
    world = World(tmp_path, address_failures_per_minute=5)
    with TestClient(world.app):
        early = world.shop(address="203.0.113.1")
        wrong = world.at("203.0.113.1", Authorization="Bearer sk-shoptalk-wrong")
        codes = [wrong.get("/v1/models").status_code for _ in range(8)]
        assert codes == [401] * 5 + [429] * 3
        assert wrong.post("/v1/feedback", json={}).status_code == 429
        login = world.at("203.0.113.1", **ORIGIN)
        assert login.post("/console/login", data={"key": "x"}).status_code == 429
        assert ask(early).status_code == 200
        assert ask(world.shop(address="203.0.113.1")).status_code in (200, 429)  # known a second later at most
        elsewhere = world.at("203.0.113.2", Authorization="Bearer sk-shoptalk-wrong")
        assert elsewhere.get("/v1/models").status_code == 401


def test_guessing_at_the_consoles_form_counts_too(tmp_path: Path) -> None:
    world = World(tmp_path, address_failures_per_minute=3)
    with TestClient(world.app):
        login = world.at("203.0.113.1", **ORIGIN)
        assert [login.post("/console/login", data={"key": "x"}).status_code for _ in range(5)] == [401] * 3 + [429] * 2


def test_a_customers_office_does_not_count_against_the_shops_key(world: World) -> None:
    shop = world.shop(address="203.0.113.1")
    assert ask(shop).status_code == 200
    for _ in range(20):
        world.at("203.0.113.1").get("/")
    assert world.at("203.0.113.1").get("/").status_code == 429
    assert ask(shop).status_code == 200


def test_health_is_never_refused(world: World) -> None:
    for _ in range(100):
        assert world.at("203.0.113.1").get("/healthz").status_code == 200
    assert world.at("203.0.113.1").get("/readyz").status_code == 200


def test_whose_text_had_to_be_ended_waits(world: World) -> None:
    limits = world.services.limits
    visitor = world.visitor("203.0.113.1")
    who = world.services.secrets.decrypt(visitor.cookies["shoptalk_session"].encode())["visitor"]
    waits = [limits.penalize(Admission("203.0.113.1"), key_id="web", customer=who) for _ in range(3)]
    assert waits == [1, 2, 4]
    assert "took too long to examine" in refused(ask(visitor))["message"]
    assert ask(world.visitor("203.0.113.1")).status_code == 200  # others there, until it is too often
    limits.penalize(Admission("203.0.113.1"), key_id="web", customer="another")
    assert ask(world.visitor("203.0.113.1")).status_code == 429
    assert ask(world.visitor("203.0.113.2")).status_code == 200


def test_of_a_key_only_the_customer_waits_whose_text_it_was(world: World) -> None:
    shop = world.shop()
    with world.services.store.read() as conn:
        (key,) = keys.everyone(conn)
    world.services.limits.penalize(Admission("198.51.100.1", "keys"), key_id=key.id, customer="mallory")
    assert refused(ask(shop, user="mallory"))
    assert ask(shop, user="jo").status_code == 200
    assert ask(shop).status_code == 200
