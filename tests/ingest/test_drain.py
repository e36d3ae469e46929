"""Admission: exactly once, also when killed between or with two drains at once; nothing raw reaches a file."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from ingest.inbox.acceptance import EncryptedInbox
from ingest.inbox.drain import Drain, DrainResult, content_hash
from ingest.scrub.scrubber import PresidioScrubber
from shoptalk.crypto import Secrets
from shoptalk.domain import Message
from shoptalk.events import ExchangeRecorded, FeedbackReceived, FeedbackSender, TurnRecorded, read
from shoptalk.store import Store, schema
from shoptalk.store.chat import chats, inferences
from shoptalk.store.ingest import feedback, inbox, quarantine, turns
from tests.clocks import now
from tests.rows import inference, number

AT = datetime(2026, 1, 1, tzinfo=UTC).isoformat()


class NetOnly:
    """The second scan without the seconds it takes to build a whole scrubber."""

    def remaining(self, *texts: str) -> Mapping[str, int]:
        from ingest.scrub.scrubber import _left

        return {span.kind: 1 for text in texts for span in _left(text)}


def turn(id: str, text: str | None = "hello", **more: Any) -> dict[str, Any]:
    return {"id": id, "parent_id": None, "role": "user", "text": text, "reason": None, "inference_id": None, "at": AT,
            "pii": {}, **more}  # fmt: skip


def exchange(*items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"source": "chat", "scrubber": "t-1", "turns": list(items), "revisions": {}, **more}


def put(
    store: Store,
    secrets: Secrets,
    id: str,
    payload: Mapping[str, Any],
    kind: str = "exchange",
    conversation: str = "con_1",
) -> None:
    """An entry as any version may have written it, well-formed or not."""
    with store.write() as conn:
        assert inbox.add(conn, id, kind, conversation, secrets.encrypt(dict(payload)))


def counts(store: Store) -> tuple[int, int, int]:
    with store.read() as conn:
        return inbox.count(conn), turns.count(conn), number(conn, schema.feedback)


@pytest.fixture
def drain(store: Store, secrets: Secrets) -> Drain:
    return Drain(store, secrets, NetOnly())


def test_admits_turns_feedback_and_counts(store: Store, secrets: Secrets, drain: Drain) -> None:
    put(store, secrets, "a1", exchange(
        turn("t1", "I am <PERSON_1>", pii={"PERSON": 1}),
        turn("t2", "Hi", role="assistant", parent_id="t1", inference_id="inf_1", pii={"PERSON": 2}),
        turn("t3", None, parent_id="t2", reason="scrubbing failed: too long"),
    ))  # fmt: skip
    put(store, secrets, "a2", {"id": "f1", "inference_id": "inf_1", "metric": "thumbs", "value": 1, "comment": "nice",
                               "pii": {"PERSON": 1}, "at": AT, "scrubber": "t-1"}, "feedback")  # fmt: skip
    assert drain.run_once() == DrainResult(turns=3, feedback=1)
    assert drain.run_once() == DrainResult()
    with store.read() as conn:
        path = turns.path_to(conn, "t3")
        assert [(t.id, t.text, t.reason) for t in path] == [
            ("t1", "I am <PERSON_1>", None), ("t2", "Hi", None), ("t3", None, "scrubbing failed: too long")
        ]  # fmt: skip
        stored = conn.execute(sa.text("select content_hash from turns where id = 't1'")).scalar()
        assert stored == content_hash("i am  <person_1>")
        assert turns.pii_totals(conn) == {"PERSON": 4}
        assert feedback.of_inferences(conn, ["inf_1"])["inf_1"][0].comment == "nice"
        assert conn.execute(sa.text("select distinct seq from turns")).scalars().all() == [1]


def test_what_another_key_encrypted_waits_and_the_rest_is_admitted(
    store: Store, secrets: Secrets, drain: Drain
) -> None:
    for n in range(5):
        put(store, Secrets(bytes(32)), f"a{n}", exchange(turn(f"t{n}")))
    put(store, secrets, "a9", exchange(turn("t9")))
    with capture_logs() as logged:
        assert drain.run_once(limit=2) == DrainResult(turns=1)
        assert drain.run_once() == DrainResult()
    assert [(line["log_level"], line["arrivals"]) for line in logged] == [("error", 5)]
    assert "SHOPTALK_SECRET_KEY" in logged[0]["event"]
    assert counts(store) == (5, 1, 0)
    with store.read() as conn:
        assert quarantine.reasons(conn) == {}
    assert Drain(store, Secrets(bytes(32)), NetOnly()).run_once() == DrainResult(turns=5)


def test_what_is_written_has_the_keys_that_older_versions_read(store: Store, secrets: Secrets, drain: Drain) -> None:
    at, said = datetime(2026, 1, 1, tzinfo=UTC), turn("t1", "I am <PERSON_1>", pii={"PERSON": 1})
    fields = {key: said[key] for key in said if key != "at"}
    one = ExchangeRecorded(source="chat", scrubber="t-1", turns=[TurnRecorded(**fields, at=at)], revisions={"t0": "x"})
    sender = FeedbackSender(owner="shop", customer=None)
    rating = {"id": "f1", "inference_id": "inf_1", "metric": "rating", "value": 4.0, "comment": None, "pii": {}}
    two = FeedbackReceived(**rating, at=at, scrubber="t-1", caller=sender)
    with store.write() as conn:
        assert EncryptedInbox(secrets).accept(conn, "a1", one, "con_1")
        assert not EncryptedInbox(secrets).accept(conn, "a1", one, "con_1")
        assert EncryptedInbox(secrets).accept(conn, "f1", two, "inf_1")
    with store.read() as conn:
        rows = conn.execute(sa.select(schema.arrivals.c.kind, schema.arrivals.c.body)).all()
    kept = {kind: secrets.decrypt(body) for kind, body in rows}
    assert kept["exchange"] == exchange(said, revisions={"t0": "x"})
    assert kept["feedback"] == {**rating, "at": AT, "scrubber": "t-1", "caller": {"owner": "shop", "customer": None}}
    assert read("exchange", kept["exchange"]) == one
    assert read("feedback", kept["feedback"]) == two
    assert drain.run_once() == DrainResult(turns=1)


def test_sending_again_adds_nothing(store: Store, secrets: Secrets, drain: Drain) -> None:
    for id in ("a1", "a2"):
        put(store, secrets, id, exchange(turn("t1", pii={"PERSON": 1})))
    assert drain.run_once() == DrainResult(turns=1, duplicates=1)
    put(store, secrets, "a1", exchange(turn("t1", pii={"PERSON": 1})))
    assert drain.run_once() == DrainResult(duplicates=1)
    with store.read() as conn:
        assert turns.pii_totals(conn) == {"PERSON": 1}


def test_revisions_rewrite(store: Store, secrets: Secrets, drain: Drain) -> None:
    put(store, secrets, "a1", exchange(turn("t1", "it is Zorblat")))
    put(store, secrets, "a2", exchange(turn("t2"), revisions={"t1": "it is <PERSON_1>", "unknown": "x"}))
    drain.run_once()
    with store.read() as conn:
        assert turns.find(conn, "t1").text == "it is <PERSON_1>"  # type: ignore[union-attr]


def test_a_revision_waits_for_its_turn(store: Store, secrets: Secrets, drain: Drain) -> None:
    put(store, secrets, "a1", exchange(turn("t1", "it is Zorblat")))
    put(store, secrets, "a2", exchange(turn("t2"), revisions={"t1": "it is <PERSON_1>"}))
    with store.write() as conn:
        [first] = inbox.claim(conn, 1, now() + timedelta(hours=1))  # by another drain
    assert drain.run_once() == DrainResult()
    assert counts(store) == (2, 0, 0)
    with store.write() as conn:
        inbox.give_back(conn, [first.seq])
    assert drain.run_once() == DrainResult(turns=2)
    with store.read() as conn:
        assert turns.find(conn, "t1").text == "it is <PERSON_1>"  # type: ignore[union-attr]


def test_what_a_drain_claimed_that_died_is_admitted_by_another(store: Store, secrets: Secrets, drain: Drain) -> None:
    put(store, secrets, "a1", exchange(turn("t1")))
    with store.write() as conn:
        assert len(inbox.claim(conn, 1, now() + timedelta(hours=1))) == 1
    assert drain.run_once() == DrainResult()
    with store.write() as conn:
        conn.execute(sa.update(schema.arrivals).values(claimed_until=now() - timedelta(seconds=1)))
    assert drain.run_once() == DrainResult(turns=1)


EARLY = {"id": "f1", "inference_id": "inf_1", "metric": "thumbs", "value": 1, "comment": None, "pii": {}, "at": AT,
         "scrubber": "t-1", "caller": {"key_id": "key_1", "customer": "cus_1"}}  # fmt: skip


def reply(store: Store, customer: str | None = "cus_1") -> None:
    """The inference that early feedback was about."""
    with store.write() as conn:
        chats.open_conversation(conn, chats.StoredConversation("con_1", "key_1", customer), "chat")
        inferences.add(
            conn,
            inference("inf_1", "con_1", now(), adapter="shop@v0"),
        )


def test_feedback_waits_for_its_inference(store: Store, secrets: Secrets, drain: Drain) -> None:
    put(store, secrets, "f1", EARLY, "feedback", "inf_1")
    assert drain.run_once() == DrainResult()
    assert counts(store) == (1, 0, 0)
    reply(store)
    assert drain.run_once() == DrainResult(feedback=1)
    with store.read() as conn:
        assert feedback.of_inferences(conn, ["inf_1"])["inf_1"][0].conversation_id == "con_1"


@pytest.mark.parametrize(
    ("theirs", "reason"), [("cus_2", "invalid: inference_id: is another's"), (None, "invalid: inference_id: no such")]
)
def test_early_feedback_of_others_or_about_nothing_is_quarantined(
    store: Store, secrets: Secrets, drain: Drain, theirs: str | None, reason: str
) -> None:
    put(store, secrets, "f1", EARLY, "feedback", "inf_1")
    with store.write() as conn:
        conn.execute(sa.update(schema.arrivals).values(created_at=now() - timedelta(hours=2)))
    if theirs:
        reply(store, theirs)
    assert drain.run_once() == DrainResult(quarantined=1)
    with store.read() as conn:
        [found] = quarantine.reasons(conn)
    assert found.startswith(reason)


@pytest.mark.parametrize(
    ("payload", "kind", "reason"),
    [
        (exchange(turn("t1", "my mail is jo@quux.example")), "exchange", "the second scan found EMAIL_ADDRESS"),
        (exchange(turn("t1"), revisions={"t0": "98765 43210"}), "exchange", "the second scan found PHONE_NUMBER"),
        (exchange(turn("t1", role="robot")), "exchange", "invalid: turns.0.role"),
        (exchange(turn("t1", "x" * 200_000)), "exchange", "invalid: turns.0.text"),
        (exchange(turn("t1", at="yesterday")), "exchange", "invalid: turns.0.at"),
        (exchange(turn("t1", at="2026-01-01T00:00:00")), "exchange", "invalid: turns.0.at"),
        (exchange(turn("t1", None)), "exchange", "invalid: turns.0"),
        ({"what": "jo@quux.example"}, "exchange", "invalid: "),
        (
            {"id": "f", "metric": "thumbs", "value": float("nan"), "at": AT, "scrubber": "t"},
            "feedback",
            "invalid: value",
        ),
        ({}, "gossip", "invalid: unknown kind"),
    ],
)
def test_quarantine(
    store: Store, secrets: Secrets, drain: Drain, payload: dict[str, Any], kind: str, reason: str, tmp_path: Path
) -> None:
    put(store, secrets, "a1", payload, kind)
    assert drain.run_once() == DrainResult(quarantined=1)
    assert counts(store) == (0, 0, 0)
    with store.read() as conn:
        [(found, n)] = quarantine.reasons(conn).items()
        body = conn.execute(sa.text("select body from quarantine")).scalar_one()
    assert found.startswith(reason)
    assert n == 1
    assert "quux" not in found
    if payload.get("metric") is None:
        assert secrets.decrypt(body) == payload
    assert not any(b"quux" in file.read_bytes() for file in tmp_path.iterdir())


def test_killed_between_is_harmless(
    store: Store, secrets: Secrets, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(4):
        put(store, secrets, f"a{i}", exchange(turn(f"t{i}", pii={"PERSON": 1})))
    real = turns.add_pii_counts
    calls = 0

    def dies(*args: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        real(*args)

    monkeypatch.setattr(turns, "add_pii_counts", dies)
    with pytest.raises(KeyboardInterrupt):
        drain.run_once()
    assert counts(store) == (2, 2, 0)
    assert drain.run_once() == DrainResult(turns=2)
    with store.read() as conn:
        assert turns.pii_totals(conn) == {"PERSON": 4}


def test_two_drains_at_once_never_double(store: Store, secrets: Secrets) -> None:
    for i in range(60):
        put(store, secrets, f"a{i}", exchange(turn(f"t{i}", pii={"PERSON": 1})))
    results: list[DrainResult] = []
    barrier = threading.Barrier(3)

    def work() -> None:
        barrier.wait()
        results.append(Drain(store, secrets, NetOnly()).run_once())

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(r.turns for r in results) == 60
    assert sum(r.duplicates for r in results) == 0
    assert counts(store) == (0, 60, 0)


def test_nothing_is_computed_inside_a_transaction(
    store: Store, secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, secrets, "a1", exchange(turn("t1")))
    inside = False
    real = store.write

    @contextmanager
    def watched() -> Any:
        nonlocal inside
        with real() as conn:
            inside = True
            yield conn
            inside = False

    class Watching(NetOnly):
        def remaining(self, *texts: str) -> Mapping[str, int]:
            assert not inside
            return super().remaining(*texts)

    monkeypatch.setattr(store, "write", watched)
    assert Drain(store, secrets, Watching()).run_once().turns == 1


def test_raw_values_never_reach_the_files(
    store: Store, secrets: Secrets, scrubber: PresidioScrubber, tmp_path: Path
) -> None:
    raw = ["I am Zorblat Quuxley", "mail zorblat@quuxley.example or 98765-43210", "order 505-4443332-2221110 #778899"]
    scrubbed = scrubber.scrub([Message("user", text) for text in raw])
    rows = [turn(f"t{i}", text, pii=dict(scrubbed.counts[i])) for i, text in enumerate(scrubbed.final)]
    put(store, secrets, "a1", exchange(*rows))
    before = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"ORDER_ID_1" not in before  # encrypted until admitted
    assert Drain(store, secrets, scrubber).run_once() == DrainResult(turns=3)
    store.close()
    everything = b"".join(file.read_bytes() for file in tmp_path.iterdir()).lower()
    assert b"order_id_1" in everything
    for value in (b"quuxley", b"98765-43210", b"4443332", b"778899"):
        assert value not in everything
