"""A client that names no conversation goes on with the one whose whole history it sends, and with no other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from chatbot.api.services import Services
from chatbot.engine.null import NullEngine
from chatbot.keys import create_key
from shoptalk.app.api import build_api
from shoptalk.domain import ApiKey, Scope
from shoptalk.settings import load_settings
from shoptalk.store import schema
from tests.rows import number

pytestmark = pytest.mark.slow


class Client:
    """A client that resends the history, as OpenAI's do."""

    def __init__(self, http: TestClient, key: str, **more: Any) -> None:
        self._http, self._headers, self._more = http, {"Authorization": f"Bearer {key}"}, more
        self.history: list[dict[str, str]] = []

    def say(self, text: str) -> str:
        """Send a message and remember the reply; return the conversation's id."""
        self.history.append({"role": "user", "content": text})
        body = {"model": "shop", "messages": self.history, **self._more}
        answer = self._http.post("/v1/chat/completions", headers=self._headers, json=body)
        assert answer.status_code == 200, answer.text
        self.history.append(answer.json()["choices"][0]["message"])
        return str(answer.json()["metadata"]["conversation_id"])


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    home: Path = tmp_path_factory.mktemp("home")
    with TestClient(build_api(load_settings(home=home, engine="null"), NullEngine())) as http:
        yield http


@pytest.fixture
def services(app: TestClient) -> Services:
    found: Services = app.app.state.services  # type: ignore[attr-defined]
    return found


@pytest.fixture
def made(services: Services) -> tuple[ApiKey, str]:
    return create_key(services.store, "test", [Scope.CHAT])


@pytest.fixture
def key(made: tuple[ApiKey, str]) -> str:
    return made[1]


def test_a_history_goes_on_where_it_was(
    app: TestClient, services: Services, made: tuple[ApiKey, str], key: str
) -> None:
    client = Client(app, key)
    with services.store.read() as conn:
        before = number(conn, schema.conversations)
    first = client.say("does the kettle whistle")
    assert client.say("and the other one") == first
    assert client.say("thanks") == first
    with services.store.read() as conn:
        assert number(conn, schema.conversations) == before + 1
        stored = services.recorder.find(first, made[0].owner, None)
        query = sa.select(schema.chat_turns.c.joined).where(schema.chat_turns.c.conversation_id == stored)
        marks = list(conn.execute(query.order_by(schema.chat_turns.c.created_at, schema.chat_turns.c.id)).scalars())
    assert sorted(marks) == [0, 0, 1, 1, 1, 1]


def test_strangers_who_say_the_same_keep_their_conversations(app: TestClient, key: str) -> None:
    one, two = Client(app, key), Client(app, key)
    first, second = one.say("hello"), two.say("hello")
    assert first != second
    assert one.history == two.history  # nobody can tell which is whose; the one written last goes on
    assert one.say("where is parcel one") == second
    assert two.say("where is parcel two") == first  # whose whole history is still this
    assert one.say("thanks") == second
    assert two.say("thank you") == first


def test_a_beginning_is_another_conversation(app: TestClient, key: str) -> None:
    client, other = Client(app, key), Client(app, key)
    first = client.say("hi there")
    other.history = list(client.history)
    client.say("one more thing")
    assert other.say("something else") != first
    again = Client(app, key)  # the same again, as for another answer
    again.history = client.history[:2]
    assert again.say("one more thing") != first


def test_another_owner_or_customer_never_joins(app: TestClient, services: Services, key: str) -> None:
    jo = Client(app, key, user="jo")
    mine = jo.say("good day")
    others = [
        Client(app, key, user="al"),
        Client(app, key),
        Client(app, create_key(services.store, "other", [Scope.CHAT])[1], user="jo"),
    ]
    for other in others:
        other.history = list(jo.history)
        assert other.say("and then") != mine
    assert jo.say("and then") == mine


def test_what_a_client_named_is_its_to_name(app: TestClient, key: str) -> None:
    named = Client(app, key, metadata={"conversation_id": "chat-42"})
    assert named.say("good evening") == "chat-42"
    other = Client(app, key)
    other.history = list(named.history)
    assert other.say("go on").startswith("conv_")
    assert named.say("go on") == "chat-42"


def test_after_a_day_it_is_another(app: TestClient, services: Services, made: tuple[ApiKey, str], key: str) -> None:
    client = Client(app, key)
    first = client.say("long ago")
    stored = services.recorder.find(first, made[0].owner, None)
    mine = schema.chat_turns.c.conversation_id == stored
    with services.store.write() as conn:
        at = services.store.now() - timedelta(hours=25)
        conn.execute(sa.update(schema.chat_turns).where(mine).values(created_at=at))
    assert client.say("and now") != first
