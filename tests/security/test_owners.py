"""An id that one client chose tells another client nothing and takes nothing from it; an owner's keys share ids."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from chatbot.api.auth import COOKIE, visitor_session
from chatbot.engine.null import NullEngine
from ingest.erasure import Erasures
from ingest.formats.files import FileConversation, FileTurn
from ingest.inbox import drain as drain_module
from ingest.inbox.drain import Drain
from shoptalk.app.api import build_api
from shoptalk.app.parts import Parts
from shoptalk.domain import Scope
from shoptalk.errors import InvalidInput
from shoptalk.settings import load_settings
from shoptalk.store.chat import chats
from shoptalk.store.ingest import inbox, quarantine
from shoptalk.store.schema import conversations

pytestmark = pytest.mark.slow

SCOPES = [Scope.CHAT, Scope.FEEDBACK, Scope.INGEST]
SAID = (FileTurn("user", "does it whistle", None), FileTurn("assistant", "It does.", None))


class World:
    """The API in this process, and clients of several kinds."""

    def __init__(self, home: Path, url: str | None) -> None:
        self.settings = load_settings(home=home, engine="null", **({"database_url": url} if url else {}))
        self.parts, self.app = Parts(self.settings), build_api(self.settings, NullEngine())
        self.services = self.app.state.services
        self.parts.__dict__["scrubber"] = self.services.scrubber  # loading another one takes seconds

    def client(self, owner: str | None = None) -> TestClient:
        key, secret = self.parts.new_key("test", SCOPES, owner)
        http = TestClient(self.app, headers={"Authorization": f"Bearer {secret}"})
        http.owner = key.owner  # type: ignore[attr-defined]
        return http

    def visitor(self) -> TestClient:
        cookies = {COOKIE: visitor_session(self.services)}
        return TestClient(self.app, headers={"Origin": "http://testserver"}, cookies=cookies)

    def drain(self) -> Any:
        return Drain(self.parts.store, self.parts.secrets, self.parts.scrubber).run_once()

    def owners(self, public: str) -> list[str]:
        with self.parts.store.read() as conn:
            return sorted(o.owner for o in chats.named(conn, self.parts.secrets.public_conversation(public)))

    def as_before(self, public: str, owner: str) -> None:
        """As the conversation stood before there were owners: by the hash of its public id alone."""
        old, new = self.parts.secrets.public_conversation(public), self.parts.secrets.conversation(public, owner)
        with self.parts.store.write() as conn:
            for table in ("chat_turns", "turns", "arrivals", "imported", "inferences"):
                if table == "chat_turns":  # it refers to the conversation
                    row = conn.execute(sa.select(conversations).where(conversations.c.id == new)).one()
                    conn.execute(sa.insert(conversations), {**row._mapping, "id": old})
                conn.execute(
                    sa.text(f"update {table} set conversation_id = :old where conversation_id = :new"),
                    {"old": old, "new": new},
                )
            conn.execute(sa.delete(conversations).where(conversations.c.id == new))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    made = World(tmp_path / "home", url)
    with TestClient(made.app):
        yield made
    made.parts.close()
    made.services.store.close()


def ask(http: TestClient, conversation: str, text: str = "does it whistle", key: str | None = None, **more: Any) -> Any:
    body = {"model": "shop", "messages": [{"role": "user", "content": text}], **more}
    body["metadata"] = {"conversation_id": conversation}
    return http.post("/v1/chat/completions", json=body, headers={"Idempotency-Key": key} if key else {})


def feedback(http: TestClient, **about: Any) -> Any:
    return http.post("/v1/feedback", json={"metric": "thumbs", "value": 1, **about})


def shape(answer: Any) -> tuple[int, Any]:
    """What a client sees of an answer, without what differs from one answer to the next."""
    body = answer.json()
    if "error" in body:
        return answer.status_code, body["error"]
    return answer.status_code, sorted(body)


def test_nobody_takes_an_id_from_another(world: World) -> None:
    """The attack: a visitor, and another client's key, use the shop's ids before the shop does."""
    shop, stranger, visitor, other = world.client("storefront"), world.client(), world.visitor(), world.visitor()
    for squatter in (visitor, stranger, other):
        assert ask(squatter, "chat-42").status_code == 200
    answer = ask(shop, "chat-42")
    assert (answer.status_code, answer.headers["X-Conversation-Id"]) == (200, "chat-42"), answer.text
    assert feedback(shop, conversation_id="chat-42").status_code == 201
    assert len(world.owners("chat-42")) == 4
    for each in (visitor, stranger, other, shop):
        assert ask(each, "chat-42", "and now?").status_code == 200


def test_nobody_learns_which_ids_there_are(world: World) -> None:
    shop, strangers = world.client("storefront"), (world.client(), world.visitor())
    said = ask(shop, "chat-42", user="jo").json()["id"]
    ask(shop, "chat-43")
    for stranger in strangers:
        assert shape(ask(stranger, "chat-42")) == shape(ask(stranger, "chat-44"))
        for there, not_there in (
            ({"conversation_id": "chat-43"}, {"conversation_id": "chat-45"}),
            ({"inference_id": said}, {"inference_id": "inf_" + "0" * 32}),
            (
                {"inference_id": said, "idempotency_key": "a"},
                {"inference_id": "inf_" + "1" * 32, "idempotency_key": "b"},
            ),
        ):
            assert shape(feedback(stranger, **there)) == shape(feedback(stranger, **not_there))
    assert shape(ask(shop, "chat-42", user="al")) == shape(ask(shop, "chat-42"))  # bound to jo, within an owner


def test_feedback_on_anothers_reply_is_not_counted(world: World) -> None:
    said = ask(world.client("storefront"), "chat-42").json()["id"]
    assert feedback(world.visitor(), inference_id=said).status_code == 202
    assert world.drain().quarantined == 1
    with world.parts.store.read() as conn:
        assert quarantine.reasons(conn) == {"invalid: inference_id: is another's": 1}


def test_a_key_takes_anothers_place(world: World) -> None:
    for owner in ("storefront", None):
        former = world.client(owner)
        whose = former.owner  # type: ignore[attr-defined]
        said = ask(former, "chat-42", "does it whistle", "retry-1", user="jo").json()
        key = world.client(whose)
        assert key.headers["Authorization"] != former.headers["Authorization"]
        assert ask(key, "chat-42", "does it whistle", "retry-1", user="jo").json() == said
        assert ask(key, "chat-42", "and now?", user="jo").status_code == 200
        assert ask(former, "chat-42", "still here", user="jo").status_code == 200  # they overlap
        assert feedback(key, inference_id=said["id"]).status_code == 201
        assert feedback(key, conversation_id="chat-42").status_code == 201
        assert world.owners("chat-42").count(whose) == 1
    first, second = world.client("storefront"), world.client("storefront")
    early = {"inference_id": "inf_" + "2" * 32, "idempotency_key": "x"}
    assert feedback(first, **early).json()["recorded"]
    assert not feedback(second, **early).json()["recorded"]


def test_what_was_stored_before_there_were_owners_is_found_by_its_owner_alone(world: World) -> None:
    shop, stranger = world.client("storefront"), world.client()
    said = ask(shop, "chat-42").json()["id"]
    world.as_before("chat-42", "storefront")
    assert ask(shop, "chat-42", "and now?").status_code == 200
    assert feedback(shop, conversation_id="chat-42").status_code == 201
    assert feedback(shop, inference_id=said).status_code == 201
    assert world.owners("chat-42") == ["storefront"]
    assert feedback(stranger, conversation_id="chat-42").status_code == 404
    assert ask(stranger, "chat-42").status_code == 200
    assert world.owners("chat-42") == sorted(["storefront", stranger.owner])  # type: ignore[attr-defined]
    world.drain()
    world.parts.erasures.run(world.parts.erasures.begin_conversation("chat-42", owner="storefront"))
    assert ask(shop, "chat-42", "hello again").status_code == 404  # what was erased does not come back
    assert ask(stranger, "chat-42", "hello again").status_code == 200
    assert ask(world.visitor(), "chat-42").status_code == 200


def test_early_feedback_from_before_there_were_owners_is_understood(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = world.client()
    owner = shop.owner  # type: ignore[attr-defined]
    said = ask(shop, "chat-42").json()["id"]
    payload = {"id": "fbk_1", "inference_id": said, "metric": "thumbs", "value": 1.0, "comment": None, "pii": {},
               "at": "2026-03-01T12:00:00+00:00", "scrubber": "t"}  # fmt: skip
    with world.parts.store.write() as conn:
        for n, caller in enumerate((owner, "key_of_another"), 1):
            old = {**payload, "id": f"fbk_{n}", "caller": {"key_id": caller, "customer": None}}
            inbox.add(conn, f"fbk_{n}", "feedback", said, world.services.secrets.encrypt(old))
    monkeypatch.setattr(drain_module, "EARLY", timedelta(0))
    result = world.drain()
    assert (result.feedback, result.quarantined) == (1, 1)


def test_imports_of_named_owners_meet_no_others(world: World) -> None:
    row = {"conversation_id": "ticket-1", "turns": [{"role": "customer", "text": "does it whistle"}]}
    row["turns"] += [{"role": "agent", "text": "It does."}]  # type: ignore[operator]

    def states(http: TestClient) -> list[str]:
        answer = http.post("/v1/conversations", json={"conversations": [row]})
        return [each["state"] for each in answer.json()["conversations"]]

    assert states(world.client("helpdesk")) == ["new"]
    assert states(world.client("other")) == ["new"]  # neither learns that there is one, nor changes it
    assert states(world.client("helpdesk")) == ["unchanged"]
    assert states(world.client()) == ["new"]  # a key without a name acts for the shop,
    assert states(world.client()) == ["unchanged"]  # as do others, and the command line
    result = world.parts.importer.import_conversations([FileConversation(1, "ticket-1", None, None, SAID)])
    assert (result.new, result.unchanged) == (0, 1)
    assert world.owners("ticket-1") == ["helpdesk", "import", "other"]
    ask(world.client("helpdesk"), "ticket-1", "and now?")
    assert world.owners("ticket-1") == ["helpdesk", "import", "other"]  # it went on


def test_imports_from_before_there_were_owners_are_known_again(world: World) -> None:
    item = FileConversation(1, "ticket-1", None, None, SAID)
    assert world.parts.importer.import_conversations([item]).new == 1
    world.drain()
    world.as_before("ticket-1", "import")
    again = world.parts.importer.import_conversations([item])
    assert (again.new, again.unchanged) == (0, 1)
    with world.parts.store.write() as conn:  # as where it had been added to a key's conversation
        conn.execute(sa.update(conversations).values(owner="key_1"))
    assert world.parts.importer.import_conversations([item]).unchanged == 1
    longer = FileConversation(7, "ticket-1", None, None, (*SAID, FileTurn("user", "thanks", None)))
    refused = world.parts.importer.import_conversations([longer])
    assert (refused.failed, refused.changed) == (1, 0)
    assert refused.problems[0].startswith("line 7: conversation_id: this conversation is another owner's")


def test_an_erasure_of_one_id_reaches_everybody_who_has_it_or_one(world: World) -> None:
    begin: Erasures = world.parts.erasures
    shop, visitor = world.client("storefront"), world.visitor()
    ask(shop, "chat-42"), ask(visitor, "chat-42")
    world.drain()
    begin.begin_conversation("chat-42", owner="storefront")
    assert begin.run_once() == 1
    assert [whose.partition(":")[0] for whose in world.owners("chat-42")] == ["web"]
    begin.begin_conversation("chat-42")
    assert begin.run_once() == 1
    assert world.owners("chat-42") == []
    assert (ask(shop, "chat-42").status_code, ask(visitor, "chat-42").status_code) == (404, 404)
    assert ask(world.visitor(), "chat-42").status_code == 200


@pytest.mark.parametrize("name", ["", "web", "web:cus_1", "a b", "x" * 65, "key_unknown", "é"])
def test_owners_that_cannot_be_named(world: World, name: str) -> None:
    with pytest.raises(InvalidInput, match="owner: "):
        world.parts.new_key("test", SCOPES, name)
