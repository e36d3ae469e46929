"""Personal data planted everywhere people type is found nowhere afterwards."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from labeling.label_studio.server import LabelStudioServer
from shoptalk.demo.helpers import annotate
from shoptalk.store.ingest import conversations, inbox, quarantine
from shoptalk.store.labeling import labels, samples
from tests.e2e.stack import LABEL_STUDIO, Stack, need, until

pytestmark = [pytest.mark.slow, pytest.mark.label_studio]
CONVERSATIONS = 200


@dataclass(frozen=True)
class Planted:
    """One customer's values."""

    mail: str
    phone: str
    card: str
    order: str

    @property
    def values(self) -> tuple[str, ...]:
        return (self.mail, self.phone, self.card, self.order)


def plant(rng: random.Random) -> Planted:
    """Return values of many shapes, no two alike."""

    def digits(n: int) -> str:
        return str(rng.randrange(10 ** (n - 1), 10**n))

    word = "".join(rng.choices("bcdfghklmnprstvz", k=7))
    phone = rng.choice((f"+44 20 {digits(4)} {digits(4)}", f"555-{digits(3)}-{digits(4)}", f"0{digits(10)}"))
    card = rng.choice(
        (
            f"4{digits(3)} {digits(4)} {digits(4)} {digits(4)}",
            f"5{digits(15)}",
            f"4{digits(3)}-{digits(4)}-{digits(4)}-{digits(4)}",
        )
    )
    order = rng.choice((f"{digits(3)}-{digits(7)}-{digits(7)}", f"ORD-{digits(8)}", f"#{digits(9)}"))
    return Planted(
        f"{word}{digits(3)}@{rng.choice(('mail.example', 'post.test', 'inbox.example.org'))}", phone, card, order
    )


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Stack]:
    need((LABEL_STUDIO / "bin" / "label-studio").exists(), "Label Studio is not installed; run 'make label-studio'")
    home = tmp_path / "home"
    with LabelStudioServer(LABEL_STUDIO, home / "label-studio", template_dir=LABEL_STUDIO / "template") as server:
        values: dict[str, Any] = {"label_studio_url": server.url, "sample_size": 60, "labels_wanted": 1000}
        with Stack(home, **values) as stack:
            stack.start("serve")
            stack.start("worker")
            yield stack


def test_planted_values_are_nowhere(running: Stack) -> None:
    rng = random.Random(4)
    planted = [plant(rng) for _ in range(CONVERSATIONS)]
    with running.client() as http:
        for i, values in enumerate(planted):
            _converse(http, i, values)
            if i % 70 == 69:  # in the middle of a drain
                running.kill("worker")
                running.start("worker")
    store = running.parts.store

    def drained() -> bool:
        with store.read() as conn:
            return inbox.count(conn) == 0

    until(drained, "the drain", 240)
    with store.read() as conn:
        assert conversations.count(conn) >= 0.95 * CONVERSATIONS, quarantine.reasons(conn)
    _annotate(running, planted)
    for name in list(running.processes):
        running.stop(name)
    needles = {form for p in planted for value in p.values for form in _forms(value)}
    assert _in_tables(running, needles) == []
    assert _in_files(running.settings.home, needles) == []
    assert _in_label_studio(running, needles) == []


def _converse(http: Any, i: int, p: Planted) -> None:
    """Hold two exchanges and rate one, with values in messages, metadata, customer id, conversation id and comment."""
    about = {
        "model": "shop",
        "user": p.mail,
        "metadata": {"conversation_id": f"{p.phone}/{i}", "note": f"card {p.card}", p.order[:60]: "order"},
    }
    history = [{"role": "user", "content": f"Hi, order {p.order} is late. Write to {p.mail} or call {p.phone}."}]
    for follow in (f"I paid with card {p.card}, my order is {p.order}", None):
        reply = http.post("/v1/chat/completions", json={**about, "messages": history})
        assert reply.status_code == 200, reply.text
        answer = reply.json()
        if follow:
            history += [answer["choices"][0]["message"], {"role": "user", "content": follow}]
            history = [{"role": m["role"], "content": m["content"]} for m in history]
    comment = f"never mail {p.mail} again, ring {p.phone}, refund {p.card} for {p.order}"
    body = {"inference_id": answer["id"], "metric": "thumbs", "value": i % 2, "comment": comment}
    body["idempotency_key"] = f"{p.mail}-{i}"
    assert http.post("/v1/feedback", json=body).status_code == 201


def _annotate(running: Stack, planted: list[Planted]) -> None:
    """Let a round send replies to Label Studio, and annotators write planted values into their corrections."""
    store = running.parts.store
    running.parts.requests.ask("person", "test")

    def pushed() -> int:
        with store.read() as conn:
            return samples.count(conn, pushed=True) if not samples.unpushed(conn, 1) else 0

    count = until(pushed, "tasks in Label Studio", 180)
    turn = iter(planted)

    def decide(_: Mapping[str, Any]) -> dict[str, Any]:
        p = next(turn)
        text = f"Your order {p.order} is on its way; I have written to {p.mail} and {p.phone}, card {p.card}."
        return {"verdict": "fixable", "correction": text, "rating": 3, "intent": "order_status"}

    assert annotate(running.parts, decide, label_studio=True) == count

    def pulled() -> bool:
        with store.read() as conn:
            return labels.count(conn) >= count

    until(pulled, "labels", 180)
    with store.read() as conn:
        replies = [label.reply or "" for label in labels.everything(conn)]
    assert any("<ORDER_ID_" in reply and "<EMAIL_ADDRESS_" in reply for reply in replies)


def _forms(value: str) -> set[str]:
    """Return the value, and its digits without separators where there are eight or more."""
    digits = "".join(c for c in value if c.isdigit())
    return {value, digits} if len(digits) >= 8 and "@" not in value else {value}


def _in_tables(running: Stack, needles: set[str]) -> list[str]:
    found = []
    for path in (running.settings.home / "shoptalk.db", running.settings.home / "jobs.db"):
        with sqlite3.connect(path) as conn:
            tables = [row[0] for row in conn.execute("select name from sqlite_master where type = 'table'")]
            for table in tables:
                text = repr(conn.execute(f'select * from "{table}"').fetchall())
                found += [f"{table}: {needle}" for needle in needles if needle in text]
        conn.close()
    return found


def _in_files(home: Path, needles: set[str]) -> list[str]:
    """Search every file, logs and database pages included."""
    found = []
    for path in sorted(p for p in home.rglob("*") if p.is_file()):
        data = path.read_bytes()
        found += [f"{path.relative_to(home)}: {needle}" for needle in needles if needle.encode() in data]
    return found


def _in_label_studio(running: Stack, needles: set[str]) -> list[str]:
    client = running.parts.label_studio
    project = client.ensure_project(running.settings.label_studio_project, _config())
    text = repr(list(client.annotated_since(project, None)))
    assert "sample_id" in text
    return [needle for needle in needles if needle in text]


def _config() -> str:
    from labeling.label_studio.config import label_config

    return label_config()
