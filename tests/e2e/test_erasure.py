"""A customer is erased everywhere, from the bytes of the database file too, and kills do not stop the erasure."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import structlog
from typer.testing import CliRunner

from chatbot.api.caller import Caller
from chatbot.api.exchange import Exchange
from chatbot.api.limits.admission import Admission
from chatbot.api.routes.chat import _submit
from chatbot.api.schemas import ChatRequest
from chatbot.router import Route
from ingest.erasure import AGAIN, CLEAN
from ingest.formats.files import FileConversation
from shoptalk.app.lineage import trace
from shoptalk.cli.main import app
from shoptalk.clock import Clock
from shoptalk.domain import AdapterRef, Message, Scope
from shoptalk.errors import EngineStopped, IllegalMove, NotFound
from shoptalk.store import schema, triggers
from shoptalk.store.chat import releases
from shoptalk.store.training import datasets
from tests.clocks import ManualTime, now
from tests.e2e.erasure_world import IMPORTED, JO, Filled, Shop, fill, opened_shop
from tests.e2e.stack import ROOT, until
from tests.postgres import PostgresServer

pytestmark = pytest.mark.slow

EXEMPT = {  # table -> why it can hold nothing about a customer
    "api_keys": "keys of programs, not of customers",
    "releases": "names of adapters",
    "release_events": "names of adapters, and reasons of those who release",
    "desired": "names of adapters",
    "observed": "names of adapters",
    "rate_buckets": "keyed hashes of callers with numbers, deleted once their limit is full again",
    "tombstones": "hashes made for this, the only means to recognize what comes back",
    "topic_models": "means of very many messages",
    "label_projects": "numbers of projects",
    "triggers": "reasons of those who raise them",
    "rounds": "ids and states",
    "round_steps": "ids and counts",
    "counters": "numbers",
    "cursors": "numbers",
    "workers": "names of processes",
    "leases": "names of processes",
}
FOLDERS = {  # folder in the home folder that no eraser covers -> what it holds
    "models/": "base models",
    "kernels/": "machine code",
    "executors/": "heartbeats",
    "logs/": "logs, which never hold a text or a customer",
    "vllm-adapters/": "copies of adapters, deleted when these are withdrawn",
}
ON_SQLITE = pytest.mark.parametrize("shop", ["sqlite"], indirect=True)  # for tests that do not depend on the SQL
NOT_FILLED = {  # covered, and empty before an erasure
    "erasures": "written by the erasure itself",
    "erasure_steps": "written by the erasure itself",
    "adapter_marks": "written by the erasure itself",
    "import_batches": "counts only; this shop imports one by one",
    "feature_queue": "empty once features are computed",
}
COUNTED = {"arrivals": 1, "turns": 4, "feedback": 1, "quarantine": 1}  # what Jo leaves in ingest


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    """A copy of the shop that was filled once."""
    filled: Filled = request.getfixturevalue(f"filled_{request.param}")
    shutil.copytree(filled.settings.home, tmp_path / "home")
    changes: dict[str, Any] = {"home": tmp_path / "home"}
    server: PostgresServer | None = None
    if filled.database:
        server = request.getfixturevalue("postgres")
        name = server.create(filled.database)
        changes["database_url"] = server.url(name)
    with opened_shop(filled.settings.model_copy(update=changes), filled.key, filled.secret) as made:
        made.dataset = filled.dataset
        made.services.follower.follow()
        yield made
    if server:
        server.drop(name)


@pytest.fixture(scope="module")
def filled_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    return fill(tmp_path_factory.mktemp("filled") / "home")


@pytest.fixture(scope="module")
def filled_postgres(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[Filled]:
    name = postgres.create()
    yield fill(tmp_path_factory.mktemp("filled") / "home", name, database_url=postgres.url(name))
    postgres.drop(name)


def test_nothing_is_left_of_a_customer(shop: Shop) -> None:
    before = shop.left()
    for table in ("turns", "feedback", "quarantine", "annotations", "labels", "arrivals", "answers", "runs"):
        assert [line for line in before if line.startswith(f"table {table}:")], table
    assert [line for line in before if line.startswith("file ")]
    assert shop.serves() == "shop@v1"
    others = _counted(shop)

    answer = shop.erase(JO)
    assert answer["state"] == "done", answer
    receipt = answer["receipt"]
    assert receipt["conversations"] == 3
    assert receipt["removed"]["ingest"] == COUNTED
    assert receipt["removed"]["service"] == {"shop@v1": "withdrawn"}
    assert receipt["removed"]["training"]["adapters"] == ["shop@v1"]
    assert shop.http.get(f"/v1/erasures/{receipt['id']}").json()["receipt"] == receipt
    assert shop.serves() == "shop@v0"
    assert AdapterRef("shop", 1) not in shop.services.engine.resident()
    shop.parts.withdrawals.run_once()  # deletes its files, now that nobody serves it
    assert shop.left() == []
    assert _counted(shop) == {**others, "turns": others["turns"] - 4, "conversations": others["conversations"] - 3}

    assert shop.http.get("/v1/reports/rep_1").status_code == 404
    assert shop.http.get("/v1/reports/rep_0").status_code == 200
    with pytest.raises(IllegalMove, match="erased"):
        shop.parts.releases.start("shop", "shop@v1", "test")
    replayed = trace(shop.parts, "shop@v1")
    assert (replayed["verdict"], replayed["judged again"]) == ("promote", "promote")
    successor = receipt["removed"]["training"]["datasets"][shop.dataset]
    read = shop.parts.datasets.read(shop.dataset)
    assert read.id == successor
    assert "labelmarker" not in repr(read)
    assert shop.parts.datasets.freeze("rnd_2").id  # the next round continues without


def _counted(shop: Shop) -> dict[str, int]:
    with shop.parts.store.read() as conn:
        return {
            name: conn.execute(sa.select(sa.func.count()).select_from(schema.metadata.tables[name])).scalar_one()
            for name in ("turns", "conversations", "adapters", "evaluations", "api_keys", "reports")
        }


def test_what_was_erased_does_not_come_back(shop: Shop) -> None:
    shop.erase(JO)
    assert shop.ask(JO, "my zanzibarred kettle again", "jo-1").status_code == 404
    for id, who in (("jo-import", None), ("jo-other-import", JO)):
        result = shop.parts.importer.import_conversations([FileConversation(1, id, who, None, IMPORTED)])
        assert (result.erased, result.new) == (1, 0)
    assert shop.ask(JO, "hello, I am back", "jo-new").status_code == 200  # a new conversation is new
    shop.drain()
    assert [line for line in shop.left() if JO not in line and not line.endswith(shop.parts.secrets.customer(JO))] == []


def test_an_adapter_may_serve_until_it_is_replaced(shop: Shop) -> None:
    answer = shop.erase(JO, "when_replaced")
    outcome = answer["receipt"]["removed"]["service"]["shop@v1"]
    assert outcome.startswith("serves until replaced, at the latest until 2")
    assert shop.serves() == "shop@v1"
    shop.parts.withdrawals.run_once()
    assert shop.serves() == "shop@v1"
    with shop.parts.store.read() as conn:
        asked = [(t.kind, t.reason) for t in triggers.newest(conn)]
    assert asked == [("erasure", f"shop@v1 was trained on what {answer['id']} erased")]
    assert str(shop.parts.served()) == "shop@v1"
    assert str(shop.parts.compared_with()) == "shop@v0"  # what would be served without it
    shop.release("shop@v2")
    assert shop.parts.withdrawals.run_once() == 1
    assert shop.serves() == "shop@v2"
    until(lambda: not shop.parts.withdrawals.run_once() and _deleted(shop), "its files to be deleted", 30)
    with shop.parts.store.read() as conn:
        desired = releases.desired_of(conn, "shop")
    assert desired is not None
    assert desired.previous is None


@ON_SQLITE
def test_without_a_successor_it_leaves_after_some_days(shop: Shop) -> None:
    shop.erase(JO, "when_replaced")
    for days, served in ((6.9, "shop@v1"), (7.1, "shop@v0")):
        shop.parts.store.clock = Clock(business=ManualTime(now() + timedelta(days=days)))
        shop.parts.withdrawals.run_once()
        assert shop.serves() == served


@ON_SQLITE
def test_no_request_fails_because_an_adapter_is_withdrawn(shop: Shop) -> None:
    answers: list[tuple[int, str]] = []
    enough = threading.Event()

    def customer(n: int) -> None:
        while not enough.is_set():
            answer = shop.ask(None, "does it whistle when it boils", f"busy-{n}-{len(answers)}")
            answers.append((answer.status_code, str(answer.json().get("model"))))

    threads = [threading.Thread(target=customer, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: len(answers) > 20, "traffic")
    assert shop.http.delete(f"/v1/customers/{JO}").status_code == 202
    until(lambda: answers[-1][1] == "shop@v0", "the adapter to leave")
    enough.set()
    for thread in threads:
        thread.join()
    assert {status for status, _ in answers} == {200}
    assert {model for _, model in answers} == {"shop@v1", "shop@v0"}


@ON_SQLITE
def test_a_request_under_way_to_a_withdrawn_adapter_gets_its_replacement(shop: Shop) -> None:
    shop.erase(JO)
    assert shop.serves() == "shop@v0"
    stale = Route("shop", AdapterRef("shop", 1), "live", 1.0)
    messages = [Message("user", "hello")]
    exchange = Exchange("con_x", "x", "key_1", None, messages, messages, None, "none", stale)
    body = ChatRequest.model_validate({"model": "shop", "messages": [{"role": "user", "content": "hello"}]})
    caller = Caller("key_1", frozenset({Scope.CHAT}), "key_1")
    made = asyncio.run(_submit(shop.services, caller, Admission("127.0.0.1", "keys"), exchange, body))
    assert str(made.exchange.route.adapter) == "shop@v0"
    named = body.model_copy(update={"model": "shop@v1"})
    with pytest.raises((EngineStopped, NotFound)):
        asyncio.run(_submit(shop.services, caller, Admission("127.0.0.1", "keys"), exchange, named))


@ON_SQLITE
def test_a_rollback_skips_adapters_that_may_not_be_served(shop: Shop) -> None:
    shop.erase(JO, "when_replaced")
    shop.release("shop@v2")
    assert shop.parts.releases.rollback_alias("shop", "test").state.value == "rolled_back"
    assert shop.serves() == "shop@v0"


def test_a_second_erasure_reaches_adapters_of_datasets_replaced_before(shop: Shop) -> None:
    with shop.parts.store.read() as conn:
        trained = {member[2] for member in datasets.members(conn, shop.dataset) if member[1] == "train"}
    (other,) = [f"other-{n}" for n in range(10) if shop.stored(f"other-{n}") in trained][:1]
    shop.erase(JO, "when_replaced")
    assert shop.serves() == "shop@v1"
    answer = shop.erase(other, "now")["receipt"]
    assert answer["removed"]["training"]["adapters"] == ["shop@v1"]
    assert answer["removed"]["service"] == {"shop@v1": "withdrawn"}
    assert shop.serves() == "shop@v0"


@ON_SQLITE
def test_an_adapter_that_only_held_a_customer_out_is_not_marked(shop: Shop) -> None:
    with shop.parts.store.read() as conn:
        held = {member[2] for member in datasets.members(conn, shop.dataset) if member[1] == "holdout"}
    (other,) = [f"other-{n}" for n in range(10) if shop.stored(f"other-{n}") in held][:1]
    answer = shop.erase(other)["receipt"]
    assert list(answer["removed"]["training"]["datasets"]) == [shop.dataset]
    assert answer["removed"]["training"]["adapters"] == []
    assert shop.serves() == "shop@v1"


@ON_SQLITE
def test_erasing_on_the_command_line(shop: Shop) -> None:
    values: Mapping[str, Any] = shop.settings.model_dump(include={"home", "database_url", "engine"}, exclude_none=True)
    environment = {f"SHOPTALK_{k.upper()}": str(v) for k, v in values.items()}

    def run(*words: str) -> Any:
        try:
            return CliRunner().invoke(app, ["erase", *words], env=environment)
        finally:
            structlog.reset_defaults()  # commands log to the output of this run, which is closed by now

    assert run().exit_code == run(JO, "--conversation", "x").exit_code == 2
    anonymous = json.loads(run("--conversation", "other-3", "--json").stdout)
    assert anonymous["removed"]["ingest"]["turns"] == 2
    done = run(JO, "--policy", "when_replaced", "--json")
    receipt = json.loads(done.stdout)
    assert (done.exit_code, receipt["conversations"], receipt["policy"]) == (0, 3, "when_replaced")
    assert json.loads(run("--receipt", receipt["id"], "--json").stdout) == receipt


def _deleted(shop: Shop) -> bool:
    adapter = shop.parts.registry.find(AdapterRef("shop", 1))
    return not Path(shop.parts.artifacts.path_of(adapter.weights_sha256)).exists()


@ON_SQLITE
def test_unknown_customers_and_wrong_requests(shop: Shop) -> None:
    assert shop.erase("nobody@here")["receipt"]["conversations"] == 0
    assert shop.http.delete("/v1/customers/x?policy=never").status_code == 400
    assert shop.http.get("/v1/erasures/era_unknown").status_code == 404
    _, reader = shop.parts.new_key("reader", [Scope.READ, Scope.CHAT])
    refused = shop.http.delete(f"/v1/customers/{JO}", headers={"Authorization": f"Bearer {reader}"})
    assert refused.status_code == 403
    assert shop.left()


# forks a process for each attempt, since loading everything again takes longer than the erasure
DYING = """
import json, os, signal, sys
from ingest.erasure import Erasures
from shoptalk.app.parts import Parts
from shoptalk.settings import load_settings
from ingest.features import topics
real, killed = Erasures._record, []

def record(self, erasure, step, counts):
    os.write(writer, step.encode())
    if step in killed:  # it was already killed before its record
        real(self, erasure, step, counts)
    os.kill(os.getpid(), signal.SIGKILL)

Erasures._record = record
while len(killed) < 60:
    reader, writer = os.pipe()
    if not os.fork():
        parts = Parts(load_settings())
        erasure = parts.erasures.begin_customer(sys.argv[1])
        parts.erasures.run(erasure)
        parts.erasures.clean()
        os.write(writer, json.dumps(parts.erasures.find(erasure).receipt).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        text = file.read()
    status = os.waitstatus_to_exitcode(os.wait()[1])
    if status != -signal.SIGKILL:
        print(json.dumps([status, killed, text]), file=sys.stderr)
        break
    killed.append(text)
"""


@ON_SQLITE
def test_a_kill_at_each_step_does_not_stop_the_erasure(shop: Shop) -> None:
    values: Mapping[str, Any] = shop.settings.model_dump(include={"home", "database_url", "engine"}, exclude_none=True)
    environment = {**os.environ, **{f"SHOPTALK_{k.upper()}": str(v) for k, v in values.items()}}
    command = [sys.executable, "-c", DYING, JO]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    status, killed, receipt = json.loads(done.stderr.splitlines()[-1])
    assert status == 0, done.stderr[-800:]
    # killed before and after each step's record; only once where the record is committed with the removal
    names = [f"{eraser.name}{again}" for eraser in shop.parts.erasers() for again in ("", AGAIN)]
    at_once = {f"{name}{again}" for name in ("ingest", "chatbot", "labeling") for again in ("", AGAIN)}
    assert Counter(killed) == {name: 1 if name in at_once else 2 for name in [*names, CLEAN]}
    removed = json.loads(receipt)["removed"]
    assert removed["ingest"] == COUNTED
    assert (removed["chatbot"]["inferences"], removed["labeling"]["samples"]) == (2, 1)
    shop.serves()
    shop.parts.withdrawals.run_once()
    assert shop.left() == []


@ON_SQLITE
def test_every_covered_table_holds_something_to_erase(shop: Shop) -> None:
    """An eraser that only names a table would otherwise pass: nothing of it could be left."""
    covered: set[str] = set().union(*(eraser.covers for eraser in shop.parts.erasers()))
    with shop.parts.store.read() as conn:
        empty = {
            table.name
            for table in schema.metadata.sorted_tables
            if table.name in covered
            and conn.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first() is None
        }
    assert empty == set(NOT_FILLED)


def test_every_table_and_folder_is_covered(shop: Shop) -> None:
    covered: set[str] = set().union(*(eraser.covers for eraser in shop.parts.erasers()))
    assert {t.name for t in schema.metadata.sorted_tables} - covered == set(EXEMPT)
    made = {f"{path.name}/" for path in shop.settings.home.iterdir() if path.is_dir()}
    assert made <= covered | set(FOLDERS)
    with shop.parts.store.read() as conn:
        assert datasets.newest(conn)


@ON_SQLITE
def test_several_erasures_are_cleaned_together_by_a_worker(shop: Shop) -> None:
    ids = [shop.http.delete(f"/v1/customers/{who}").json()["id"] for who in (JO, "other-1")]
    found = [shop.parts.erasures.find(id) for id in ids]
    assert [(each.state, each.problem) for each in found] == [("running", None)] * 2
    assert shop.parts.erasures.run_once() == 2
    assert [shop.parts.erasures.find(id).state for id in ids] == ["done"] * 2
    assert shop.parts.erasures.run_once() == 0
