"""kill -9: nothing acknowledged is lost or doubled, and a round continues where it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from shoptalk.demo.helpers import annotate
from shoptalk.demo.shop import Shop
from shoptalk.domain import Verdict, id_of_round
from shoptalk.store import rounds
from shoptalk.store.ingest import inbox
from shoptalk.store.training import evaluations, runs
from tests.e2e.kills import chat_while_killed, faults
from tests.e2e.stack import Stack, models_folder, until

pytestmark = pytest.mark.slow
KILLS = 20  # on both databases together; bench/kills.py does hundreds


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_kills_while_customers_chat_lose_nothing(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    values = {"database_url": request.getfixturevalue("postgres_url")} if database == "postgres" else {}
    with Stack(tmp_path / "home", **values) as stack:
        stack.start("serve")
        acknowledged = chat_while_killed(stack, KILLS // 2, 24)
        assert acknowledged.turns > 20 * KILLS // 2
        assert acknowledged.repeated > 0
        assert faults(stack, acknowledged) == []


def test_a_round_continues_after_its_worker_was_killed_in_training(tmp_path: Path) -> None:
    """After a restart the round trains once more and publishes one adapter."""
    values = {"train_steps": 6, "train_batch": 2, "labels_wanted": 4, "sample_size": 60, "gate_min_examples": 10_000}
    with Stack(tmp_path / "home", models=models_folder(), **values) as stack:
        stack.start("serve")
        _chat(stack, 60)
        stack.start("worker")
        store = stack.parts.store

        def drained() -> bool:
            with store.read() as conn:
                return inbox.count(conn) == 0

        until(drained, "the drain")
        trigger = stack.parts.requests.ask("person", "test")
        round_id = str(until(lambda: _round_of(stack, trigger.id), "the round"))
        until(lambda: "sample" in _results(stack, round_id), "samples")
        annotate(
            stack.parts,
            lambda data: {"verdict": "fixable", "correction": f"About '{data['dialog'][0]['text']}': soon."},
            label_studio=False,
        )
        until(lambda: _steps_done(stack, round_id) >= 2, "training to be under way", 240)
        assert stack.run("worker", "--check").returncode == 0
        stack.kill("worker")
        until(lambda: not _training(stack), "the trainer to die with its worker", 20)
        stack.start("worker")
        state = until(lambda: _ended(stack, round_id), "the round to end", 400)
        with store.read() as conn:
            [judged] = evaluations.newest(conn)
            assert judged.verdict is not Verdict.PROMOTE  # the gate wants more examples than there are
            assert state == ("done", judged.verdict.value)  # six steps may also turn out to be worse
            assert [r.adapter for r in runs.newest(conn)] == ["shop@v1"]
            assert [r.state for r in runs.newest(conn)] == ["done"]


def _chat(stack: Stack, conversations: int) -> None:
    questions = [recorded.exchanges[0][0] for recorded in Shop(seed=5).everyday(conversations)]  # no two alike
    with stack.client() as http:
        for question in questions:
            body = {"model": "shop", "messages": [{"role": "user", "content": question}]}
            assert http.post("/v1/chat/completions", json=body).status_code == 200


def _round_of(stack: Stack, trigger_id: str) -> str | None:
    with stack.parts.store.read() as conn:
        return next((r.id for r in rounds.newest(conn) if r.trigger_id == trigger_id), None)


def _results(stack: Stack, round_id: str) -> dict[str, dict[str, object]]:
    with stack.parts.store.read() as conn:
        return rounds.results(conn, round_id)


def _steps_done(stack: Stack, round_id: str) -> int:
    with stack.parts.store.read() as conn:
        run = runs.find(conn, id_of_round(round_id, "run"))
    return run.step if run else 0


def _training(stack: Stack) -> bool:
    """Return whether a training process of this stack is alive."""
    home = str(stack.settings.home)
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"training.finetune" in words and any(home.encode() in word for word in words):
            return True
    return False


def _ended(stack: Stack, round_id: str) -> tuple[str, str] | None:
    with stack.parts.store.read() as conn:
        found = rounds.find(conn, round_id)
    return (found.state, found.step) if found and found.state in ("done", "failed") else None
