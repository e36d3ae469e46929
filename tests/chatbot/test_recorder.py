"""Recording an exchange: a request sent twice, one after the other or at once, is recorded once."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import sqlalchemy as sa

from chatbot.api.auth import WEB_KEY, WEB_SCOPES
from chatbot.api.caller import Caller
from chatbot.api.exchange import Exchange, Reply
from chatbot.api.idempotency import RepeatableRequest, chat_request, feedback_id, feedback_request, import_request
from chatbot.api.recorder import Recorder
from chatbot.api.schemas import ChatRequest, FeedbackRequest
from chatbot.api.tree import Match, match
from chatbot.engine.protocol import Finished
from chatbot.router import Route
from shoptalk.crypto import Secrets
from shoptalk.domain import AdapterRef, Message
from shoptalk.errors import AlreadyAnswered, IdempotencyMismatch
from shoptalk.events import ExchangeRecorded, Payload
from shoptalk.store import Store
from shoptalk.store.chat import chats, inferences

SECRETS = Secrets(bytes(range(32)))
FINISHED = Finished("stop", "Hi", 3, 1, 1.0, 2.0, -0.1)


class Accepted:
    """An inbox that remembers the payloads."""

    def __init__(self) -> None:
        self.payloads: list[Payload] = []

    def accept(
        self,
        conn: sa.Connection,
        id: str,
        payload: Payload,
        conversation_id: str,
        batch_id: str | None = None,
        customer: str | None = None,
    ) -> bool:
        self.payloads.append(payload)
        return True


def exchange(conversation: str, key: str | None, text: str = "hello") -> Exchange:
    route = Route("shop", AdapterRef("shop", 0), "live", 1.0)
    repeatable = RepeatableRequest(key, "body") if key else None
    raw = [Message("user", text)]
    return Exchange(conversation, conversation, "key_1", None, raw, raw, None, "not scrubbed", route, True, repeatable)


def reply(shown: str) -> Reply:
    return Reply(shown, None, "not scrubbed", {}, FINISHED, {})


@pytest.mark.parametrize("second", ["con_1", "con_2"])
def test_a_request_answered_meanwhile_is_not_recorded_again(store: Store, second: str) -> None:
    inbox = Accepted()
    recorder = Recorder(store, SECRETS, inbox, "t-1")
    first, again = exchange("con_1", "ans_1"), exchange(second, "ans_1")
    recorder.record(first, reply("Hi"), {"id": first.id})
    for answer in ({"id": again.id}, None):  # whole, or what was shown before the client went away
        with pytest.raises(AlreadyAnswered, match="send it again"):
            recorder.record(again, reply("Hello"), answer)
    assert recorder.answers.earlier(RepeatableRequest("ans_1", "body")) == {"id": first.id}
    assert recorder.answers.earlier(RepeatableRequest("ans_2", "body")) is None
    with pytest.raises(IdempotencyMismatch):
        recorder.answers.earlier(RepeatableRequest("ans_1", "another body"))
    assert len(inbox.payloads) == 1
    with store.read() as conn:
        assert inferences.find(conn, again.id) is None
        assert [n.inference_id for n in chats.nodes(conn, "con_1")] == [None, first.id]
        assert (chats.find(conn, "con_2"), len(chats.nodes(conn, "con_2"))) == (None, 0)


def test_the_same_request_at_once_is_recorded_once(store: Store) -> None:
    inbox = Accepted()
    recorder = Recorder(store, SECRETS, inbox, "t-1")
    ready = threading.Barrier(4)
    refused: list[AlreadyAnswered] = []

    def work(n: int) -> None:
        one = exchange(f"con_{n}", "ans_1")
        ready.wait()
        try:
            recorder.record(one, reply("Hi"), {"id": one.id})
        except AlreadyAnswered as error:
            refused.append(error)

    _at_once(work)
    assert len(refused) == 3
    with store.read() as conn:
        assert sum(len(chats.nodes(conn, f"con_{n}")) for n in range(4)) == 2


def test_one_new_message_at_once_is_new_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*given: Any) -> Match:
        time.sleep(0.1)  # so that all have read before one writes, were they not kept apart
        return match(*given)

    monkeypatch.setattr("chatbot.api.recorder.match", slow)
    inbox = Accepted()
    recorder = Recorder(store, SECRETS, inbox, "t-1")
    recorder.record(exchange("con_1", None), reply("Hi"), None)
    ready = threading.Barrier(4)

    def work(n: int) -> None:
        ready.wait()
        recorder.record(exchange("con_1", None, "and now?"), reply(f"Hi {n}"), None)

    _at_once(work)
    payloads = [payload for payload in inbox.payloads if isinstance(payload, ExchangeRecorded)]
    ids = [turn.id for payload in payloads for turn in payload.turns]
    assert len(ids) == len(set(ids)) == 7  # two, then one question and four answers


def _at_once(work: Any) -> None:
    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)


CHAT = ChatRequest.model_validate({"model": "shop", "messages": [{"role": "user", "content": "hello"}]})
RATING = FeedbackRequest.model_validate({"inference_id": "inf_1", "metric": "thumbs", "value": 1})
KEY_HOLDER = Caller("key_2", frozenset(), "key_1")
STORED = [
    "ans_580fb8c65e0f0fa931e2346872bcdd32aa55f51e9f7c638db373dec2e440dc2b",
    "ans_cf6371e712196a5bf8d7ea9126e36eef99dbb3159fc3daf405eff13ff295cc13",
    "ans_fbk_52879cc0eba2a1d7e200aa7c15af92d6",
    "ans_imp_d60f639684e68cdfe50e045f62b63cbb",
]


def test_each_visitor_has_idempotency_keys_of_their_own() -> None:
    visitors = [Caller(WEB_KEY, WEB_SCOPES, f"web:{who}", who) for who in ("a", "b", None)]
    kept = [chat_request(SECRETS, caller, "retry-1", CHAT) for caller in visitors]
    assert len({request.stored_key for request in kept}) == 3
    assert kept[0] == chat_request(SECRETS, visitors[0], "retry-1", CHAT)


def test_stored_keys_are_those_of_earlier_versions() -> None:
    """The literals are what version 1 stored; an answer it kept must be found."""
    visitor = Caller(WEB_KEY, WEB_SCOPES, "web:hash", "who")
    streamed = CHAT.model_copy(update={"stream": True})
    rating = feedback_request(SECRETS, KEY_HOLDER, "k", RATING)
    found = [
        chat_request(SECRETS, KEY_HOLDER, "k", CHAT), chat_request(SECRETS, visitor, "k", streamed), rating,
        import_request(SECRETS, KEY_HOLDER, "k", [{"b": 1, "a": "ü"}]),
    ]  # fmt: skip
    assert [each.stored_key for each in found] == STORED
    assert feedback_id(rating) == "fbk_52879cc0eba2a1d7e200aa7c15af92d6"
    chat = SECRETS.digest("body", CHAT.model_dump_json(exclude={"stream", "stream_options"}))
    imported = SECRETS.digest("import body", '[{"a": "\\u00fc", "b": 1}]')
    hashes = [chat, chat, SECRETS.digest("feedback body", RATING.model_dump_json()), imported]
    assert [each.body_hash for each in found] == hashes
