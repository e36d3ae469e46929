"""Importing over HTTP and on the command line, with batches that are held and entries in quarantine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from starlette.testclient import TestClient
from typer.testing import CliRunner

from chatbot.api.services import Services
from chatbot.engine.null import NullEngine
from ingest.inbox.drain import Drain
from shoptalk.app.api import build_api
from shoptalk.app.parts import Parts
from shoptalk.cli.main import app
from shoptalk.domain import Scope
from shoptalk.settings import load_settings
from tests.e2e.stack import Stack
from tests.rows import newest_turns

pytestmark = pytest.mark.slow

GOOD = {"conversation_id": "c-1", "customer_id": "k-1", "turns": [
    {"role": "customer", "text": "I am Zorblat Quuxley, where is my kettle", "at": "2026-01-02T03:04:05Z"},
    {"role": "agent", "text": "On its way, Zorblat."},
]}  # fmt: skip
BAD = {"conversation_id": "c-2", "turns": [{"role": "robot", "text": "quuxley"}]}
ODD = {"conversation_id": "c-3", "turns": [{"role": "agent", "text": "Hello?"}]}


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    app = build_api(load_settings(home=tmp_path_factory.mktemp("home"), engine="null"), NullEngine())
    with TestClient(app) as client:
        yield client


@pytest.fixture
def services(http: TestClient) -> Services:
    found: Services = http.app.state.services  # type: ignore[attr-defined]
    return found


def post(http: TestClient, services: Services, rows: Any, *scopes: Scope, key: str | None = None) -> Any:
    _, secret = Parts(services.settings).new_key("test", scopes or [Scope.INGEST])
    headers = {"Authorization": f"Bearer {secret}"} | ({"Idempotency-Key": key} if key else {})
    return http.post("/v1/conversations", json={"conversations": rows}, headers=headers)


def test_each_conversation_is_answered_by_itself(http: TestClient, services: Services) -> None:
    answer = post(http, services, [GOOD, BAD, ODD])
    assert answer.status_code == 202
    assert answer.json()["counts"] == {"new": 2, "refused": 1}
    first, second, third = answer.json()["conversations"]
    assert first == {"state": "new", "turns": 2, "problem": None}
    assert second["problem"] == "line 2: turns.0.role: must be 'customer' or 'agent'"
    assert third["problem"] == "validation: customer: turns"
    again = post(http, services, [GOOD]).json()
    assert again["counts"] == {"unchanged": 1}
    longer = {**GOOD, "turns": [*GOOD["turns"], {"role": "customer", "text": "thank you"}]}
    assert post(http, services, [longer]).json()["conversations"][0] == {
        "state": "changed",
        "turns": 1,
        "problem": None,
    }
    result = Drain(services.store, services.secrets, services.scrubber).run_once()  # type: ignore[arg-type]
    assert (result.turns, result.quarantined) == (3, 1)
    with services.store.read() as conn:
        said = [turn.text for turn in newest_turns(conn)]
    assert not any("quuxley" in (text or "").lower() for text in said)


def test_a_repeated_request_gets_its_answer_again(http: TestClient, services: Services) -> None:
    _, secret = Parts(services.settings).new_key("test", [Scope.INGEST])
    headers = {"Authorization": f"Bearer {secret}", "Idempotency-Key": "k1"}
    row = {**GOOD, "conversation_id": "c-9"}
    first, again = (http.post("/v1/conversations", json={"conversations": [row]}, headers=headers) for _ in range(2))
    assert first.json() == again.json()
    assert first.json()["counts"] == {"new": 1}
    other = http.post("/v1/conversations", json={"conversations": [GOOD]}, headers=headers)
    assert other.status_code == 409


def test_refused_requests(http: TestClient, services: Services) -> None:
    assert post(http, services, [GOOD], Scope.CHAT).status_code == 403
    assert post(http, services, []).status_code == 400
    assert post(http, services, [GOOD] * 101).status_code == 400
    assert post(http, services, "x").status_code == 400
    assert post(http, services, [{**GOOD, "metadata": {"x": "y" * 5_000_000}}]).status_code == 413


def test_importing_on_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "chats.csv"
    rows = ["ticket,role,body"]
    for n in range(35):
        rows += [f"t{n},client,my kettle no. {n} leaks at the bottom", f"t{n},agent,We send you another one today."]
    rows += [f"x{n},agent,Hello?" for n in range(12)]
    file.write_text("\n".join(rows))
    with Stack(tmp_path / "home") as stack:

        def run(*words: str) -> Any:
            try:
                return CliRunner().invoke(app, words, env=stack.environment)
            finally:
                structlog.reset_defaults()  # commands log to the output of this run, which is closed by now

        columns = ["--columns", "conversation_id=ticket,text=body", "--json"]
        wrong = stack.run("ingest", str(file))
        assert (wrong.returncode, "--columns conversation_id=NAME" in wrong.stderr) == (2, True)
        would = json.loads(run("ingest", str(file), "--dry-run", *columns).stdout)
        done = run("ingest", str(file), *columns)
        report = json.loads(done.stdout)
        assert (would["new"], report["new"], report["to quarantine"]) == (47, 47, 12)
        batch, state = report["batch"].split()
        assert (state, report["held because"]) == ("held", ["12 of 47 conversations fail a check"])
        assert f"batches release {batch}" in done.stderr
        assert json.loads(run("batches", "list", "--json").stdout)[0]["state"] == "held"
        assert json.loads(run("batches", "show", batch, "--json").stdout)["failures"] == {"customer": 12}
        assert run("batches", "release", batch).stdout.strip() == f"{batch} is accepted"
        parts = stack.parts
        assert Drain(parts.store, parts.secrets, parts.scrubber).run_once(1000).quarantined == 12
        entries = json.loads(run("quarantine", "list", "--json", "--reason", "validation: customer").stdout)
        assert len(entries) == 12
        one = entries[0]["id"]
        assert json.loads(run("quarantine", "show", one, "--json").stdout)["turns"][0]["text"] == "Hello?"
        fixed = run("quarantine", "fix", one, "--set", "turns.0.role=user")
        assert f"quarantine replay {one}" in fixed.stdout, fixed.stderr
        assert run("quarantine", "replay", one).stdout.strip() == "1 of 1 replayed"
        assert run("quarantine", "drop", entries[1]["id"]).exit_code == 0
        rest = run("quarantine", "replay", "--reason", "validation", "--accept")
        assert rest.stdout.strip() == "10 of 10 replayed"
        assert Drain(parts.store, parts.secrets, parts.scrubber).run_once(1000).turns == 11
        assert json.loads(run("ingest", str(file), *columns).stdout)["unchanged"] == 47
