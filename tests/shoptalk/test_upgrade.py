"""A data folder from before there were owners opens: conversations keep their owners, keys their scopes."""

from __future__ import annotations

import contextlib
import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from starlette.testclient import TestClient

import shoptalk.store
from chatbot.api.auth import COOKIE
from chatbot.engine.null import NullEngine
from shoptalk.app.api import build_api
from shoptalk.crypto import Secrets, load_secrets
from shoptalk.settings import Settings, load_settings
from shoptalk.store import Store
from shoptalk.store.chat import chats, keys
from shoptalk.store.schema import Time

pytestmark = pytest.mark.slow

SECRET, VISITOR = "sk-shoptalk-from-before", "5" * 32
WHEN = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
HELLO = [{"role": "user", "content": "does it whistle"}]
CHOICES = [{"index": 0, "message": {"role": "assistant", "content": "It does."}, "finish_reason": "stop"}]
KINDS = {"created_at": Time(), "at": Time(), "admitted_at": Time(), "updated_at": Time(), "scopes": sa.JSON(),
         "turn_ids": sa.JSON()}  # fmt: skip


def test_it_opens_and_goes_on(settings: Settings) -> None:
    secrets = load_secrets(settings)
    ids = _fill(settings, secrets)
    services = (app := build_api(settings, NullEngine())).state.services  # this migrates
    with services.store.read() as conn:
        owners = {name: chats.find(conn, id) for name, id in ids.items()}
        found = {key.id: (key.owner, sorted(key.scopes)) for key in keys.everyone(conn)}
        said = {id: whose for id, whose in conn.execute(sa.text("select id, customer from turns"))}
        waiting = {id: whose for id, whose in conn.execute(sa.text("select id, customer from arrivals"))}
        refused = conn.execute(sa.text("select customer from quarantine")).scalar_one()
    jo, visitor = secrets.customer("jo"), secrets.customer(VISITOR)
    assert found == {"key_1": ("key_1", ["chat", "feedback"]), "key_2": ("key_2", ["admin"])}
    assert {name: (o.owner, o.customer, o.public_hash) for name, o in owners.items() if o} == {
        "chat-42": ("key_1", jo, ids["chat-42"]),
        "chat-43": ("key_2", None, ids["chat-43"]),
        "visit-1": (f"web:{visitor}", visitor, ids["visit-1"]),
        "ticket-1": ("import", None, ids["ticket-1"]),
    }
    assert (said, waiting, refused) == ({"trn_1": jo, "trn_2": jo, "trn_3": None}, {"inf_9": visitor}, jo)

    with TestClient(app, headers={"Authorization": f"Bearer {SECRET}"}) as shop:
        assert _ask(shop, "chat-42", user="jo").status_code == 200  # it goes on
        assert _ask(shop, "chat-42", user="al").status_code == 404
        assert _ask(shop, "chat-42", "retry-1", user="jo").json()["id"] == "inf_1"  # as answered before
        assert _feedback(shop, inference_id="inf_1").status_code == 201
        assert _ask(shop, "chat-43").status_code == 200  # one of its own
        assert shop.get("/v1/runs").status_code == 403
        cookie = {COOKIE: secrets.encrypt({"visitor": VISITOR}).decode()}
        page = TestClient(app, headers={"Origin": "http://testserver"}, cookies=cookie)
        assert _ask(page, "visit-1").status_code == 200
        assert _ask(page, "visit-2", "retry-2").json()["id"] == "inf_2"
        assert _feedback(page, conversation_id="visit-1").status_code == 201
    with services.store.read() as conn:
        counts = {name: len(chats.named(conn, id)) for name, id in ids.items()}
        assert counts == {"chat-42": 1, "chat-43": 2, "visit-1": 1, "ticket-1": 1}
    services.store.close()


def test_it_goes_back(settings: Settings) -> None:
    _fill(settings, load_secrets(settings))
    with _store(settings) as store:
        store.migrate()
        _alembic(store, "0004")
        with store.read() as conn:
            found = conn.execute(sa.text("select key_id from conversations order by key_id")).scalars()
            assert list(found) == ["import", "key_1", "key_2", "web"]


def _fill(settings: Settings, secrets: Secrets) -> dict[str, str]:
    """What the release before wrote; the stored id of each conversation."""
    jo, visitor = secrets.customer("jo"), secrets.customer(VISITOR)
    whose = {"chat-42": ("key_1", jo), "chat-43": ("key_2", None), "visit-1": ("web", visitor),
             "ticket-1": ("import", None)}  # fmt: skip
    ids = {name: "con_" + secrets.digest("conversation", name)[:32] for name in whose}
    with _store(settings) as store:
        _alembic(store, "0004")
        with store.write() as conn:

            def add(table: str, **values: Any) -> None:
                columns = [sa.column(name, KINDS.get(name, sa.types.NullType())) for name in values]
                conn.execute(sa.insert(sa.table(table, *columns)), values)

            for n, scopes in enumerate((["chat", "feedback"], ["admin"]), 1):
                sha = hashlib.sha256(SECRET.encode() if n == 1 else b"other").hexdigest()
                add("api_keys", id=f"key_{n}", name="shop", sha256=sha, scopes=scopes, created_at=WHEN)
            for name, (key, customer) in whose.items():
                add("conversations", id=ids[name], key_id=key, customer=customer, source="chat", created_at=WHEN)
            place = {"conversation_id": ids["chat-42"], "parent_id": None, "inference_id": None}
            digest = secrets.digest("turn", "user\0does it whistle")
            add("chat_turns", id="trn_1", role="user", digest=digest, created_at=WHEN, **place)
            turn = {"text": "hello", "reason": None, "content_hash": "0" * 64, "at": WHEN, "admitted_at": WHEN}
            add("turns", id="trn_1", seq=1, role="user", **place, **turn)
            add("turns", id="trn_2", seq=1, role="assistant", **place, **turn)
            add("turns", id="trn_3", seq=2, role="user", **{**place, "conversation_id": ids["ticket-1"]}, **turn)
            add("inferences", id="inf_1", conversation_id=ids["chat-42"], alias="shop", adapter="shop@v0",
                variant="live", propensity=1.0, prompt_tokens=1, completion_tokens=1, ttft_ms=1.0, latency_ms=1.0,
                finish_reason="stop", mean_logprob=0.0, created_at=WHEN)  # fmt: skip
            body = secrets.encrypt({"turns": []})
            add("arrivals", id="inf_9", kind="exchange", conversation_id=ids["visit-1"], body=body, created_at=WHEN)
            add("quarantine", id="inf_8", kind="exchange", conversation_id=ids["chat-42"], reason="x", body=body,
                created_at=WHEN)  # fmt: skip
            for n, (owner, key, more) in enumerate(
                (("key_1\0", "retry-1", _body("chat-42", user="jo")), (f"web\0{VISITOR}", "retry-2", _body("visit-2"))),
                1,
            ):
                stored = "ans_" + secrets.digest("idempotency", f"{owner}\0{key}")
                answer = secrets.encrypt({"id": f"inf_{n}", "choices": CHOICES})
                add("answers", id=stored, body_sha256=_hash(secrets, more), status=200, body=answer,
                    created_at=WHEN, conversation_id=ids["chat-42"])  # fmt: skip
    return ids


def _body(conversation: str, **more: Any) -> dict[str, Any]:
    return {"model": "shop", "messages": HELLO, "metadata": {"conversation_id": conversation}, **more}


def _hash(secrets: Secrets, body: dict[str, Any]) -> str:
    from chatbot.api.schemas import ChatRequest

    return secrets.digest(
        "body", ChatRequest.model_validate(body).model_dump_json(exclude={"stream", "stream_options"})
    )


def _ask(http: TestClient, conversation: str, key: str | None = None, **more: Any) -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    return http.post("/v1/chat/completions", json=_body(conversation, **more), headers=headers)


def _feedback(http: TestClient, **about: str) -> Any:
    return http.post("/v1/feedback", json={"metric": "thumbs", "value": 1, **about})


def _alembic(store: Store, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(shoptalk.store.__file__).parent / "migrations"))
    with store.write() as conn:
        config.attributes["connection"] = conn
        (command.upgrade if _empty(conn) else command.downgrade)(config, revision)


def _empty(conn: sa.Connection) -> bool:
    return not sa.inspect(conn).has_table("conversations")


def _store(settings: Settings) -> contextlib.closing[Store]:
    return contextlib.closing(Store(settings.database))


@pytest.fixture
def settings(empty_url: str, tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path / "home", engine="null", database_url=empty_url)
