"""Workers as they run: one service that hangs stops nothing else, and a host that is gone is taken over."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from shoptalk.domain import Scope
from shoptalk.store import rounds
from shoptalk.store.ingest import inbox
from shoptalk.store.labeling import labels, samples
from tests.e2e.silent import silent_server
from tests.e2e.stack import Stack, until
from tests.postgres import PostgresServer
from tests.rows import label, newest_turns, sample

pytestmark = pytest.mark.slow


def chat(stack: Stack, count: int) -> None:
    with stack.client(Scope.CHAT) as http:
        for n in range(count):
            body = {"model": "shop", "messages": [{"role": "user", "content": f"where is parcel {n}"}]}
            http.post("/v1/chat/completions", json=body).raise_for_status()


def waits(stack: Stack) -> int:
    with stack.parts.store.read() as conn:
        return inbox.count(conn)


def test_a_label_studio_that_never_answers_stops_no_admission(tmp_path: Path) -> None:
    with (
        silent_server() as url,
        Stack(tmp_path / "home", label_studio_url=url, label_studio_token="0" * 40) as stack,
    ):
        stack.start("serve")
        stack.start("worker")
        chat(stack, 3)
        until(lambda: waits(stack) == 0, "the first admission")
        with stack.parts.store.write() as conn:
            reply = next(turn for turn in newest_turns(conn) if turn.role == "assistant")
            samples.add(conn, sample("smp_1", turn_id=reply.id, conversation_id=reply.conversation_id))
        during = 0
        for _ in range(3):
            until(lambda: "busy with push" in stack.run("worker", "--check").stdout, "the push to hang")
            chat(stack, 3)
            until(lambda: waits(stack) == 0, "admission")
            checked = stack.run("worker", "--check")
            assert checked.returncode == 0, checked.stdout
            assert "intake: " in checked.stdout
            during += "busy with push" in checked.stdout
        assert during  # else it waited for the push; `bench.outage` measures how long admission takes


@pytest.mark.postgres
def test_a_host_that_is_gone_is_taken_over_and_its_round_acts_once(tmp_path: Path, postgres: PostgresServer) -> None:
    """Two hosts share a database and nothing else; of the same name, as containers may be."""
    shared = {
        "database_url": postgres.url(postgres.create()),
        "jobs_database_url": postgres.url(postgres.create()),
        "artifacts_url": str(tmp_path / "artifacts"),
        "secret_key": "5" * 64,
        "takeover_s": 15,
        "label_studio_url": "http://127.0.0.1:9",
    }
    with Stack(tmp_path / "one", **shared) as one, Stack(tmp_path / "two", **shared) as two:
        one.start("serve")
        chat(one, 12)
        one.start("worker")
        until(lambda: waits(one) == 0, "admission")
        one.parts.requests.ask("person", "test")

        def waiting() -> str | None:
            with one.parts.store.read() as conn:
                return next((r.id for r in rounds.newest(conn) if (r.state, r.step) == ("waiting", "labels")), None)

        round_id: str = until(waiting, "the round to wait for labels")
        with one.parts.store.read() as conn:
            chosen = samples.of_round(conn, round_id)
        one.kill("worker")
        two.start("worker")
        with one.parts.store.write() as conn:
            for item in chosen:
                made = label(item.id, sample_id=item.id, turn_id=item.turn_id, conversation_id=item.conversation_id)
                labels.put(conn, made)

        def ended() -> str | None:
            with one.parts.store.read() as conn:
                found = rounds.find(conn, round_id)
            return found.step if found is not None and found.state == "done" else None

        began = time.monotonic()
        outcome = until(ended, "another host to take the round over", 90)
        assert time.monotonic() - began < 75
        assert outcome == "not_enough_data"
        with one.parts.store.read() as conn:
            assert len(rounds.newest(conn)) == 1
            assert samples.of_round(conn, round_id) == chosen
        assert "round taken over" in two.log("worker")
