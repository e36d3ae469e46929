"""Conversation files: errors name line and field, importing again adds nothing, nothing raw is stored."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ingest.formats.files import FileConversation, LineProblem, read_conversations
from ingest.imports.importer import Importer, ImportResult
from ingest.inbox.acceptance import EncryptedInbox
from ingest.inbox.drain import Drain
from ingest.inbox.validation import Validator
from ingest.scrub.scrubbed import Scrubbed
from ingest.scrub.scrubber import PresidioScrubber
from shoptalk.clock import SystemTime
from shoptalk.crypto import Secrets
from shoptalk.domain import Message
from shoptalk.errors import InvalidInput, ScrubbingFailed
from shoptalk.store import Store, schema
from shoptalk.store.chat import chats
from shoptalk.store.ingest import inbox, turns
from tests.rows import number


def open_conversation(conn: sa.Connection, opened: chats.StoredConversation) -> bool:
    return chats.open_conversation(conn, opened, "import")


def line(id: str, *texts: str, **more: Any) -> str:
    rows = [{"role": "customer" if i % 2 == 0 else "agent", "text": text} for i, text in enumerate(texts)]
    return json.dumps({"conversation_id": id, "turns": rows, **more})


GOOD = [
    line("c1", "I am Zorblat Quuxley, order 505-4443332-2221110", "Thanks Zorblat!", customer_id="k-9",
         started_at="2026-01-02T03:04:05+01:00", metadata={"mail": "zorblat@quuxley.example"}, source="x"),
    line("c2", "hello", "hi", "98765-43210"),
]  # fmt: skip


def written(path: Path, lines: Sequence[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def import_file(importer: Importer, path: Path, **more: Any) -> ImportResult:
    return importer.import_conversations(read_conversations(path), source=path.name, **more)


@pytest.fixture
def importer(store: Store, secrets: Secrets, scrubber: PresidioScrubber) -> Importer:
    return Importer(store, EncryptedInbox(secrets), scrubber, secrets, open_conversation, Validator([], SystemTime()))


def test_imports_once(
    store: Store, secrets: Secrets, scrubber: PresidioScrubber, importer: Importer, tmp_path: Path
) -> None:
    file = written(tmp_path / "in.jsonl", GOOD)
    heard: list[int] = []
    would = import_file(importer, file, dry_run=True)
    with store.read() as conn:
        assert (inbox.count(conn), number(conn, schema.conversations)) == (0, 0)
    first = import_file(importer, file, progress=heard.append)
    assert replace(first, batch=None) == would
    assert first.batch is not None
    assert first.batch[1] == "accepted"
    assert (first.read, first.new, first.unchanged, first.failed, first.turns) == (2, 2, 0, 0, 5)
    assert first.pii == {"PERSON": 2, "ORDER_ID": 1, "PHONE_NUMBER": 1}
    assert heard == [1, 2]
    assert import_file(importer, file).unchanged == 2  # still waiting
    drain = Drain(store, secrets, scrubber)
    assert drain.run_once().turns == 5
    again = import_file(importer, file)
    assert (again.new, again.unchanged, again.turns, again.pii) == (0, 2, 0, {})
    assert not drain.run_once()
    conversation = secrets.conversation("c1", "import")
    with store.read() as conn:
        stored = turns.of_conversation(conn, conversation)
        opened = chats.find(conn, conversation)
    assert [t.role for t in stored] == ["user", "assistant"]
    assert stored[0].text == "I am <PERSON_1>, order <ORDER_ID_1>"
    assert stored[1].parent_id == stored[0].id
    assert stored[1].inference_id is None
    assert stored[0].at.isoformat() == "2026-01-02T02:04:05+00:00"
    assert opened is not None
    assert opened.customer == secrets.customer("k-9")
    store.close()
    file.unlink()
    everything = b"".join(f.read_bytes() for f in tmp_path.iterdir()).lower()
    assert not any(value in everything for value in (b"quuxley", b"4443332", b"43210", b"k-9"))


def test_a_longer_conversation_adds_what_is_new(
    store: Store, secrets: Secrets, scrubber: PresidioScrubber, importer: Importer, tmp_path: Path
) -> None:
    drain = Drain(store, secrets, scrubber)
    import_file(importer, written(tmp_path / "a.jsonl", [line("c1", "so quuxley said", "who?")]))
    drain.run_once()
    longer = import_file(
        importer, written(tmp_path / "b.jsonl", [line("c1", "so quuxley said", "who?", "my name is quuxley")])
    )
    assert (longer.changed, longer.turns) == (1, 1)
    assert drain.run_once().turns == 1
    with store.read() as conn:
        texts = [t.text for t in turns.of_conversation(conn, secrets.conversation("c1", "import"))]
    assert texts == ["so <PERSON_1> said", "who?", "my name is <PERSON_1>"]


def test_failed_scrubbing_keeps_no_text(store: Store, secrets: Secrets, tmp_path: Path) -> None:
    class Failing:
        version = "f-1"

        def scrub_many(
            self, conversations: Sequence[Sequence[Message]], records: Any = ()
        ) -> Sequence[Scrubbed | ScrubbingFailed]:
            return [ScrubbingFailed("no reason") for _ in conversations]

    importer = Importer(
        store, EncryptedInbox(secrets), Failing(), secrets, open_conversation, Validator([], SystemTime())
    )
    result = import_file(importer, written(tmp_path / "a.jsonl", GOOD[1:]))
    assert (result.new, result.failed, result.turns) == (1, 1, 3)
    assert result.problems == ["line 1: scrubbing failed: no reason; kept without text"]

    class Nothing:
        def remaining(self, *texts: str) -> dict[str, int]:
            return {}

    assert Drain(store, secrets, Nothing()).run_once().turns == 3
    with store.read() as conn:
        stored = turns.of_conversation(conn, secrets.conversation("c2", "import"))
    assert [(t.text, t.reason) for t in stored] == [(None, "scrubbing failed: no reason")] * 3


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ("{", "line 2: is not JSON"),
        ("[1]", "line 2: is not a JSON object"),
        ("[" * 100_000, "line 2: is nested too deeply"),
        ('{"turns": [{"role": "agent", "text": "x"}]}', "line 2: conversation_id: must be a string"),
        ('{"conversation_id": "c", "turns": []}', "line 2: turns: must be a list"),
        ('{"conversation_id": "c", "turns": [{"role": "bot", "text": "x"}]}', "line 2: turns.0.role: must be"),
        ('{"conversation_id": "c", "turns": [{"role": "agent", "text": 5}]}', "line 2: turns.0.text: must be"),
        ('{"conversation_id": "c", "turns": [{"role": "agent", "text": "x", "at": "noon"}]}', "line 2: turns.0.at: "),
        ('{"conversation_id": "c", "started_at": 5, "turns": [{"role": "agent", "text": "x"}]}', "line 2: started_at"),
        (
            '{"conversation_id": "c", "customer_id": "", "turns": [{"role": "agent", "text": ""}]}',
            "line 2: customer_id",
        ),
        ('{"conversation_id": "c", "metadata": 1, "turns": [{"role": "agent", "text": ""}]}', "line 2: metadata"),
    ],
)
def test_errors_name_line_and_field(tmp_path: Path, bad: str, problem: str) -> None:
    items = list(read_conversations(written(tmp_path / "a.jsonl", [GOOD[0], bad, "", GOOD[1]])))
    assert [type(item) for item in items] == [FileConversation, LineProblem, FileConversation]
    assert str(items[1]).startswith(problem)


def test_gzip_and_unreadable_files(tmp_path: Path) -> None:
    whole = gzip.compress("\n".join(GOOD).encode())
    (tmp_path / "a.jsonl.gz").write_bytes(whole)
    assert len(list(read_conversations(tmp_path / "a.jsonl.gz"))) == 2
    (tmp_path / "b.jsonl.gz").write_bytes(whole[:-20])
    (tmp_path / "c.jsonl.gz").write_bytes(b"not gzip")
    for name in ("b.jsonl.gz", "c.jsonl.gz", "d.jsonl"):
        with pytest.raises(InvalidInput, match=name):
            list(read_conversations(tmp_path / name))
    (tmp_path / "e.jsonl").write_bytes(b"\xff\xfe\n")
    assert str(next(read_conversations(tmp_path / "e.jsonl"))) == "line 1: is not UTF-8"
