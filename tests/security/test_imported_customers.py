"""An erasure reaches what was imported under a customer's id, whatever conversation it was imported into."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from chatbot.engine.null import NullEngine
from ingest.formats.files import FileConversation, FileTurn
from ingest.inbox.drain import Drain
from shoptalk.app.api import build_api
from shoptalk.app.parts import Parts
from shoptalk.domain import Scope
from shoptalk.settings import load_settings
from shoptalk.store import schema
from shoptalk.store.ingest import turns
from tests.rows import newest_turns, number

pytestmark = pytest.mark.slow

MARKER = "zanzibarred"
SAID = (FileTurn("user", f"my {MARKER} kettle leaks", None), FileTurn("assistant", "We send you another.", None))
OPENING = (FileTurn("user", "hello there", None), FileTurn("assistant", "Hello!", None))


class World:
    """Imports, a drain and erasures on one database."""

    def __init__(self, home: Path, url: str | None) -> None:
        settings = load_settings(home=home, engine="null", **({"database_url": url} if url else {}))
        self.parts = Parts(settings)
        self.app = build_api(settings, NullEngine())
        self.parts.__dict__["scrubber"] = self.app.state.services.scrubber  # loading another one takes seconds
        _, secret = self.parts.new_key("test", [Scope.CHAT, Scope.INGEST], "shop")
        self.http = TestClient(self.app, headers={"Authorization": f"Bearer {secret}"})

    def bring(self, id: str, who: str | None, said: Any, line: int = 1, **more: Any) -> Any:
        return self.parts.importer.import_conversations([FileConversation(line, id, who, None, said)], **more)

    def drain(self) -> Any:
        return Drain(self.parts.store, self.parts.secrets, self.parts.scrubber).run_once()

    def erase(self, who: str) -> Any:
        erasure = self.parts.erasures.begin_customer(who)
        self.parts.erasures.run_once()
        return self.parts.erasures.find(erasure)

    def left(self, who: str) -> list[str]:
        """Tables that still hold the marker or the customer."""
        found, customer = [], self.parts.secrets.customer(who)
        with self.parts.store.read() as conn:
            for table in schema.metadata.sorted_tables:
                for row in conn.execute(sa.select(table)):
                    said = " ".join(self._opened(value) for value in row)
                    found += [f"{table.name}: {word}" for word in (MARKER, customer) if word in said]
        return found

    def _opened(self, value: Any) -> str:
        try:
            return str(self.parts.secrets.decrypt(value)) if isinstance(value, bytes) else str(value)
        except Exception:  # noqa: BLE001 - not everything of bytes is encrypted
            return repr(value)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    made = World(tmp_path / "home", url)
    with made.http:
        yield made
    made.parts.close()
    made.app.state.services.store.close()


@pytest.mark.parametrize("drained", [True, False], ids=["admitted", "on its way"])
def test_turns_in_a_conversation_that_was_imported_without_a_customer(world: World, drained: bool) -> None:
    """The attack, in short: nothing of it was found before."""
    world.bring("chat-1", None, OPENING)
    assert world.bring("chat-1", "jo", (*OPENING, *SAID)).changed == 1
    world.bring("chat-2", None, (FileTurn("user", "another one's", None), FileTurn("assistant", "Hello!", None)))
    if drained:
        world.drain()
    assert world.left("jo")
    assert world.erase("jo").state == "done"
    assert world.left("jo") == []
    world.drain()
    assert world.left("jo") == []
    with world.parts.store.read() as conn:
        assert [turn.text for turn in newest_turns(conn) if turn.role == "user"] == ["another one's"]
    assert world.bring("chat-1", None, (*OPENING, *SAID)).erased == 1
    assert world.bring("chat-9", "jo", SAID).erased == 1


def test_turns_in_a_chat_that_was_opened_without_a_customer(world: World) -> None:
    body = {"model": "shop", "messages": [{"role": "user", "content": "hello there"}]}
    said = world.http.post("/v1/chat/completions", json={**body, "metadata": {"conversation_id": "chat-1"}})
    assert said.status_code == 200
    rows = [{"role": "customer", "text": f"my {MARKER} kettle"}, {"role": "agent", "text": "We send another."}]
    row = {"conversation_id": "chat-1", "customer_id": "jo", "turns": rows}
    answer = world.http.post("/v1/conversations", json={"conversations": [row]}).json()
    assert answer["counts"] == {"new": 1}
    world.drain()
    with world.parts.store.read() as conn:
        (whole,) = {turn.conversation_id for turn in newest_turns(conn)}  # one conversation, as both are the shop's
        whose = [turn.customer for turn in turns.of_conversation(conn, whole)]
    jo = world.parts.secrets.customer("jo")
    assert sorted(whose, key=str) == [None, None, jo, jo]
    world.erase("jo")
    assert world.left("jo") == []
    with world.parts.store.read() as conn:
        assert number(conn, schema.turns) == 0  # messages of one conversation quote each other


def test_the_customer_of_a_conversation_is_named_only_later(world: World) -> None:
    world.bring("chat-1", None, SAID)
    world.drain()
    assert world.bring("chat-1", "jo", SAID).unchanged == 1  # what was said is here
    world.erase("jo")
    assert world.left("jo") == []


def test_what_waits_in_a_batch_or_in_quarantine(world: World) -> None:
    world.bring("chat-1", None, OPENING)
    world.drain()
    batch = [FileConversation(n, f"odd-{n}", None, None, (FileTurn("assistant", "Hello?", None),)) for n in range(40)]
    batch += [FileConversation(41, "chat-1", "jo", None, (*OPENING, *SAID))]
    held = world.parts.importer.import_conversations(batch, source="chats.csv")
    assert held.batch is not None
    assert held.batch[1] == "held"
    world.bring("chat-3", None, OPENING)
    world.bring("chat-3", "jo", (FileTurn("assistant", f"{MARKER}, I said", None),))  # fails a check
    assert world.drain().quarantined == 1
    assert {line.partition(":")[0] for line in world.left("jo")} >= {"arrivals", "quarantine"}
    world.erase("jo")
    assert world.left("jo") == []
    world.parts.batches.release(held.batch[0])
    world.drain()
    assert world.left("jo") == []


def test_what_is_another_customers_is_refused_with_its_line(world: World) -> None:
    world.bring("chat-1", "al", OPENING)
    world.bring("chat-2", None, OPENING)
    world.bring("chat-2", "al", (*OPENING, FileTurn("user", "it is me", None), FileTurn("assistant", "Hello!", None)))
    for drained in (False, True):
        for id in ("chat-1", "chat-2"):
            for dry in (True, False):
                result = world.bring(id, "jo", (*OPENING, *SAID), line=7, dry_run=dry)
                assert (result.failed, result.changed, result.new) == (1, 0, 0)
                assert result.problems == [
                    "line 7: customer_id: this conversation is another customer's; give it an id of its own"
                ]
        if not drained:
            world.drain()
    assert world.left("jo") == []
    world.erase("al")
    with world.parts.store.read() as conn:
        assert number(conn, schema.turns) == 0


def test_it_is_refused_over_http_too(world: World) -> None:
    rows = [{"role": "customer", "text": "hello there"}, {"role": "agent", "text": "Hello!"}]
    row = {"conversation_id": "chat-1", "customer_id": "al", "turns": rows}
    world.http.post("/v1/conversations", json={"conversations": [row]})
    answer = world.http.post("/v1/conversations", json={"conversations": [{**row, "customer_id": "jo"}]}).json()
    assert answer["counts"] == {"refused": 1}
    assert answer["conversations"][0]["problem"].startswith("line 1: customer_id: this conversation is another")
