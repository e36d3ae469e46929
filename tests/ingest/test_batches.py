"""Imports are batches: held when unlike the last ones, resumed after a kill, versions instead of duplicates."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ingest.formats.files import FileConversation, FileTurn
from ingest.imports.batches import Batches, BatchMetrics, differences
from ingest.imports.importer import Importer
from ingest.inbox.acceptance import EncryptedInbox
from ingest.inbox.drain import Drain, DrainResult
from ingest.inbox.quarantine import Quarantine
from ingest.inbox.validation import Validator
from ingest.scrub.scrubber import PresidioScrubber
from shoptalk.clock import SystemTime
from shoptalk.crypto import Secrets
from shoptalk.domain import Role, Sample
from shoptalk.errors import Conflict, InvalidInput, NotFound
from shoptalk.store import Store, schema
from shoptalk.store.chat import chats
from shoptalk.store.ingest import imports, inbox, quarantine, turns
from shoptalk.store.labeling import samples
from tests.clocks import now
from tests.conftest import ROOT
from tests.rows import newest_turns

pytestmark = pytest.mark.slow

SUBJECTS = ("kettle", "toaster", "coat", "sofa", "lamp", "desk", "mug", "rug", "bike", "tent")


def open_conversation(conn: sa.Connection, opened: chats.StoredConversation) -> bool:
    return chats.open_conversation(conn, opened, "import")


def talk(id: str, *texts: str) -> FileConversation:
    roles: list[Role] = ["user", "assistant"]
    return FileConversation(1, id, None, None, tuple(FileTurn(roles[i % 2], t, None) for i, t in enumerate(texts)))


def usual(name: str, count: int = 40) -> list[FileConversation]:
    return [
        talk(
            f"{name}-{n}",
            f"my {SUBJECTS[n % 10]} has not come yet, when will it be here",
            f"It comes soon, on day {n % 7}.",
        )
        for n in range(count)
    ]


@pytest.fixture
def importer(store: Store, secrets: Secrets, scrubber: PresidioScrubber) -> Importer:
    return Importer(
        store, EncryptedInbox(secrets), scrubber, secrets, open_conversation, Validator(["en"], SystemTime())
    )


@pytest.fixture
def drain(store: Store, secrets: Secrets, scrubber: PresidioScrubber) -> Drain:
    return Drain(store, secrets, scrubber)


def texts(store: Store) -> list[str | None]:
    with store.read() as conn:
        return list(conn.execute(sa.select(schema.turns.c.text).order_by(schema.turns.c.at)).scalars())


def test_an_odd_batch_waits_for_a_person(store: Store, importer: Importer, drain: Drain) -> None:
    for name in ("a", "b", "c"):
        result = importer.import_conversations(usual(name), source=f"{name}.jsonl")
        assert (result.new, result.batch and result.batch[1], result.held) == (40, "accepted", [])
    assert drain.run_once(1000).turns == 240
    odd = [talk(f"odd-{n}", "x" * 10, *(["spam " * 60, "and more of it " * 9] * 3)) for n in range(30)]
    result = importer.import_conversations(odd, source="odd.jsonl")
    assert result.batch is not None
    assert result.batch[1] == "held"
    assert any(reason.startswith("turns a conversation: 7") for reason in result.held)
    assert drain.run_once() == DrainResult()
    with store.read() as conn:
        assert (inbox.count(conn), inbox.backlog(conn)) == (30, (0, None))
    batches = Batches(store)
    assert batches.release(result.batch[0]).state == "accepted"
    with pytest.raises(Conflict, match=r"cannot refuse batch .* it is accepted"):
        batches.refuse(result.batch[0])
    assert drain.run_once(1000).turns == 210

    again = importer.import_conversations(
        [talk(f"worse-{n}", *(["spam " * 80, "more " * 99] * 9)) for n in range(30)], source="worse.jsonl"
    )
    assert again.batch is not None
    assert batches.refuse(again.batch[0]).state == "refused"
    with store.read() as conn:
        assert inbox.count(conn) == 0
        assert imports.find(conn, again.batch[0]).report["conversations"] == 30  # type: ignore[union-attr]
    assert importer.import_conversations(usual("worse", 1), source="fine.jsonl").new == 1  # it may come again
    with pytest.raises(NotFound):
        batches.find("bat_nothing")


def test_small_batches_and_first_ones_are_not_judged() -> None:
    odd = BatchMetrics(conversations=29, turns=9999)
    assert differences(odd, [BatchMetrics(conversations=50, turns=100)] * 5) == []
    assert (
        differences(BatchMetrics(conversations=50, turns=9999), [BatchMetrics(conversations=50, turns=100)] * 2) == []
    )
    assert differences(BatchMetrics(conversations=50, failing=11, turns=100), []) == [
        "11 of 50 conversations fail a check"
    ]
    likely = BatchMetrics(conversations=60, turns=126, customers_turns=66, characters=9000)
    assert (
        differences(likely, [BatchMetrics(conversations=50, turns=100, customers_turns=50, characters=7000)] * 5) == []
    )
    assert BatchMetrics.of(odd.as_dict()) == odd


def test_a_changed_conversation_is_a_new_version(store: Store, importer: Importer, drain: Drain) -> None:
    before = talk("c1", "is it blue", "Yes.", "fine, thanks", "You are welcome.")
    first = importer.import_conversations([before])
    assert (first.new, first.turns) == (1, 4)
    assert importer.import_conversations(
        [talk("c1", "is it blue", "Yes.", "fine, thanks", "You are welcome.")]
    ).unchanged
    drain.run_once()
    changed = importer.import_conversations([talk("c1", "is it blue", "No, it is green.", "fine, thanks")])
    assert (changed.changed, changed.new, changed.turns) == (1, 0, 1)
    drain.run_once()
    assert sorted(filter(None, texts(store))) == ["No, it is green.", "fine, thanks", "is it blue"]
    with store.read() as conn:
        (known,) = imports.known(conn, [row.id for row in conn.execute(sa.select(schema.conversations.c.id))]).values()
    assert known.version == 2


def test_what_people_were_asked_about_stays(store: Store, importer: Importer, drain: Drain) -> None:
    importer.import_conversations([talk("c1", "is it blue", "Yes.")])
    drain.run_once()
    with store.write() as conn:
        (reply,) = [t for t in newest_turns(conn) if t.role == "assistant"]
        samples.add(
            conn,
            Sample(
                id="smp_1",
                turn_id=reply.id,
                conversation_id=reply.conversation_id,
                round_id="rnd_1",
                inclusion_probability=0.5,
                strategy="usefulness",
            ),
        )
    importer.import_conversations([talk("c1", "is it blue", "No.")])
    drain.run_once()
    assert sorted(filter(None, texts(store))) == ["No.", "Yes.", "is it blue"]


def entries(store: Store) -> list[Any]:
    with store.read() as conn:
        return quarantine.oldest(conn, "", 10)


def test_what_fails_a_check_can_be_fixed_and_replayed(
    store: Store, secrets: Secrets, scrubber: PresidioScrubber, importer: Importer, drain: Drain
) -> None:
    broken = [
        talk("c1", "the caf\ufffd machine leaks, says zorblat@quuxley.example", "We are sorry."),
        talk("c2", "Wo ist meine Bestellung? Sie sollte am Montag da sein.", "Bald."),
        talk("c3", "fine", "\t", "and the rest"),
    ]
    result = importer.import_conversations(broken)
    assert (result.new, result.failing) == (3, 3)
    assert drain.run_once() == DrainResult(quarantined=3)
    first, second, third = entries(store)
    assert [e.reason for e in (first, second, third)] == [
        "validation: encoding: turns.0.text", "validation: language: turns", "validation: empty: turns.1.text"
    ]  # fmt: skip
    desk = Quarantine(store, secrets, EncryptedInbox(secrets), scrubber, Validator(["en"], SystemTime()))
    shown = desk.show(first.id)
    assert shown["turns"][0]["text"] == "the caf\ufffd machine leaks, says <EMAIL_ADDRESS_1>"
    with pytest.raises(Conflict, match="fails a check still"):
        desk.replay(first.id)
    assert desk.fix(first.id, {"turns.1.text": "We are sorry, Quuxley; write to me@shop.example"}) != []
    assert desk.fix(first.id, {"turns.0.text": "the café machine leaks"}) == []
    desk.replay(first.id)
    desk.replay(second.id, accept=True)
    assert desk.fix(third.id, {}, [1]) == []
    desk.replay(third.id)
    assert drain.run_once() == DrainResult(turns=6)
    found = texts(store)
    assert "the café machine leaks" in found
    assert not any("me@shop.example" in (text or "") for text in found)
    with store.read() as conn:
        (rest,) = [t for t in newest_turns(conn) if t.text == "and the rest"]
        assert turns.find(conn, rest.parent_id or "").text == "fine"  # type: ignore[union-attr]
    assert entries(store) == []
    for act in (desk.show, desk.replay, desk.drop):
        with pytest.raises(NotFound):
            act(first.id)


def test_what_the_second_scan_found_is_scrubbed_before_it_is_admitted(
    store: Store, secrets: Secrets, scrubber: PresidioScrubber, drain: Drain
) -> None:
    raw = "so write to zorblat@quuxley.example"
    turn = {"id": "t1", "role": "user", "text": raw, "at": "2026-01-01T00:00:00Z"}
    payload = {"source": "chat", "scrubber": "old", "turns": [turn], "revisions": {"t0": raw}}
    comment = {"id": "f1", "metric": "thumbs", "value": 1, "comment": raw, "at": turn["at"], "scrubber": "old"}
    with store.write() as conn:
        inbox.add(conn, "a1", "exchange", "con_1", secrets.encrypt(payload))
        inbox.add(conn, "f1", "feedback", "con_1", secrets.encrypt(comment))
    assert drain.run_once() == DrainResult(quarantined=2)
    desk = Quarantine(store, secrets, EncryptedInbox(secrets), scrubber, Validator(["en"], SystemTime()))
    assert "quuxley" not in repr([desk.show(entry.id) for entry in entries(store)])
    for entry in entries(store):
        desk.replay(entry.id)
    assert drain.run_once() == DrainResult(turns=1, feedback=1)
    assert texts(store) == ["so write to <EMAIL_ADDRESS_1>"]


def test_a_former_version_on_its_way_is_waited_for(store: Store, importer: Importer, drain: Drain) -> None:
    importer.import_conversations([talk("c1", "is it blue", "Yes.")])
    with store.write() as conn:
        (first,) = inbox.claim(conn, 9, now() + timedelta(hours=1))  # by another drain
    importer.import_conversations([talk("c1", "is it blue", "No.")])
    assert drain.run_once() == DrainResult()
    with store.write() as conn:
        inbox.give_back(conn, [first.seq])
    drain.run_once()
    assert sorted(filter(None, texts(store))) == ["No.", "is it blue"]


def test_wrong_fixes_are_refused(
    store: Store, secrets: Secrets, scrubber: PresidioScrubber, importer: Importer, drain: Drain
) -> None:
    importer.import_conversations([talk("c1", "caf\ufffd", "oh")])
    drain.run_once()
    (entry,) = entries(store)
    desk = Quarantine(store, secrets, EncryptedInbox(secrets), scrubber, Validator(["en"], SystemTime()))
    wrong: Sequence[tuple[Mapping[str, str], Sequence[int]]] = [
        ({"turns.9.role": "user"}, ()), ({"turns.0.id": "x"}, ()), ({"scrubber": "x"}, ()), ({}, (7,))
    ]  # fmt: skip
    for changes, drops in wrong:
        with pytest.raises(InvalidInput):
            desk.fix(entry.id, changes, drops)
    desk.fix(entry.id, {"turns.0.role": "robot", "turns.0.text": "fine"})
    with pytest.raises(InvalidInput, match=r"turns\.0\.role"):
        desk.replay(entry.id)
    desk.drop(entry.id)
    assert entries(store) == []


DYING = """
import os, signal, sys
from ingest.imports import importer
from shoptalk.app.files import read_source
from shoptalk.app.parts import Parts
from shoptalk.settings import load_settings
chunks = int(sys.argv[2])
keep = importer.Importer._keep
def dying(self, *what):
    global chunks
    if not chunks:
        os.kill(os.getpid(), signal.SIGKILL)
    chunks -= 1
    return keep(self, *what)
importer.Importer._keep = dying
parts = Parts(load_settings())
result = parts.importer.import_conversations(read_source(sys.argv[1], "auto", None, None, "train"), source="x.jsonl")
print(result.new, result.unchanged, result.batch[1])
"""


@pytest.mark.slow
def test_an_import_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    rows = [
        {"conversation_id": c.id, "turns": [{"role": "customer", "text": c.turns[0].text}]} for c in usual("k", 100)
    ]
    file.write_text("\n".join(map(json.dumps, rows)))
    environment = {**os.environ, "SHOPTALK_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", DYING, str(file)]
    died = subprocess.run([*command, "2"], env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr[-500:]
    done = subprocess.run([*command, "99"], env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split()[-3:] == ["60", "40", "accepted"], done.stderr[-500:]
    store = Store(f"sqlite:///{tmp_path / 'home' / 'shoptalk.db'}")
    with store.read() as conn:
        (batch,) = imports.newest(conn)
        assert (batch.report["conversations"], inbox.backlog(conn)[0]) == (100, 100)
    store.close()
