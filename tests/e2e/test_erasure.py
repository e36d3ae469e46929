"""A customer is erased from everything there is, the database file's bytes included; kills do not stop it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import sqlalchemy as sa
import structlog
from starlette.testclient import TestClient
from typer.testing import CliRunner

from chatbot.api.auth import Caller
from chatbot.api.exchange import Exchange
from chatbot.api.limits.admission import Admission
from chatbot.api.routes.chat import _submit
from chatbot.api.schemas import ChatRequest
from chatbot.engine.null import NullEngine
from chatbot.router import Route
from ingest.erasure import AGAIN, CLEAN
from ingest.features import topics as topic_module
from ingest.features.computer import DIMENSIONS, FeatureComputer
from ingest.features.topics import Topics
from ingest.formats.files import FileConversation, FileTurn
from ingest.inbox.drain import Drain
from shoptalk.app.api import build_api
from shoptalk.app.lineage import trace
from shoptalk.app.parts import Parts
from shoptalk.cli.main import app
from shoptalk.demo.helpers import annotate
from shoptalk.domain import AdapterRef, ApiKey, Message, Scope, Verdict
from shoptalk.errors import EngineStopped, IllegalMove, NotFound
from shoptalk.settings import Settings, load_settings
from shoptalk.store import schema
from shoptalk.store.chat import releases
from shoptalk.store.ingest import quarantine
from shoptalk.store.monitoring import reports
from shoptalk.store.training import datasets, evaluations, runs
from tests.clocks import now
from tests.e2e.stack import ROOT, until
from tests.e2e.test_gate_release import adapter_files
from tests.postgres import PostgresServer

pytestmark = pytest.mark.slow

WORDS = ("zanzibarred", "quuxcomment", "importmarker", "jollyimport", "labelmarker", "brokenmarker", "pendingmarker")
JO = "jo-the-customer"
OTHERS = (
    "does this kettle whistle when it boils", "how long do you keep parcels at the shop", "I want my money back for it",
    "is the big toaster still made in green", "why was delivery so late this time", "can I pay when it arrives",
    "what is your policy on broken lids", "do you repair coffee mills", "my coupon is not accepted at all",
    "the handle came off after one day",
)  # fmt: skip
EXEMPT = {  # table -> why nothing a customer said or was can be in it
    "api_keys": "of programs, not customers",
    "releases": "names of adapters",
    "release_events": "names of adapters, and words of those who release",
    "desired": "names of adapters",
    "observed": "names of adapters",
    "rate_buckets": "keyed hashes of who asked, gone when their limit is full again, with figures",
    "tombstones": "hashes made for this, by which alone what comes back is known",
    "topic_models": "means of very many messages",
    "label_projects": "numbers of projects",
    "drift_checks": "figures",
    "triggers": "words of those who raise them",
    "rounds": "ids and states",
    "round_steps": "ids and counts",
}
FOLDERS = {  # under the home folder -> why, for those that no eraser covers
    "models/": "base models",
    "kernels/": "machine code",
    "executors/": "signs of life",
    "logs/": "logs, which never hold a text or a customer",
    "vllm-adapters/": "copies of adapters, taken away as these are withdrawn",
}


IMPORTED = (FileTurn("user", "importmarker is what I said there", None), FileTurn("assistant", "jollyimport", None))

ON_SQLITE = pytest.mark.parametrize("shop", ["sqlite"], indirect=True)  # where no SQL is in question


class Ones:
    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return np.full((len(texts), DIMENSIONS), DIMENSIONS**-0.5, dtype=np.float32)


COUNTED = {"arrivals": 1, "turns": 4, "feedback": 1, "quarantine": 1}  # what Jo leaves in ingest


class Shop:
    """A shop in which Jo left something everywhere, beside others who did too."""

    dataset: str

    def __init__(self, settings: Settings, key: ApiKey | None = None, secret: str = "") -> None:
        self.settings, self.parts = settings, Parts(settings)
        self.app = build_api(settings, NullEngine())
        self.services = self.app.state.services
        self.key, self.secret = (key, secret) if key else self.parts.new_key("test", [Scope.ADMIN])
        self.http = TestClient(self.app, headers={"Authorization": f"Bearer {self.secret}"})

    def ask(self, who: str | None, text: str, conversation: str, key: str | None = None) -> Any:
        body = {"model": "shop", "messages": [{"role": "user", "content": text}]}
        body |= {"metadata": {"conversation_id": conversation}} | ({"user": who} if who else {})
        return self.http.post("/v1/chat/completions", json=body, headers={"Idempotency-Key": key} if key else {})

    def stored(self, conversation: str, owner: str | None = None) -> str:
        return self.parts.secrets.conversation(conversation, owner or self.key.owner)

    def drain(self) -> None:
        Drain(self.parts.store, self.parts.secrets, self.parts.scrubber).run_once()

    def fill(self) -> None:
        said = self.ask(JO, "my zanzibarred kettle leaks and I want another one", "jo-1", "key-1").json()["id"]
        rating = {"inference_id": said, "metric": "thumbs", "value": 0, "comment": "quuxcomment"}
        assert self.http.post("/v1/feedback", json={**rating, "idempotency_key": "f"}).status_code == 201
        for n, text in enumerate(OTHERS):
            assert self.ask(f"other-{n}", text, f"other-{n}").status_code == 200
        self.parts.importer.import_conversations([FileConversation(1, "jo-import", JO, None, IMPORTED)])
        self.drain()
        FeatureComputer(self.parts.store, Ones()).run_once()
        Topics(self.parts.store).run_once()
        self.label()
        self.train()
        self.ask(JO, "this one is pendingmarker for now", "jo-2")  # not drained yet
        secrets = self.parts.secrets
        with self.parts.store.write() as conn:
            sealed = secrets.encrypt({"turns": "brokenmarker"})
            quarantine.add(conn, "q1", "exchange", self.stored("jo-1"), "invalid", sealed)
            quarantine.add(conn, "q2", "exchange", self.stored("other-1"), "invalid", sealed[:9])
        page = self.parts.artifacts.put(b"<html>they said zanzibarred</html>")
        with self.parts.store.write() as conn:
            reports.add(conn, reports.Report("rep_1", "drift", page, {"rows": 3}, now()))
            old = self.parts.artifacts.put(b"<html>before all this</html>")
            reports.add(conn, reports.Report("rep_0", "drift", old, {}, now() - timedelta(days=1)))

    def label(self) -> None:
        import random

        from labeling.sampling import sample

        sample(self.parts.store, "rnd_1", 100, random.Random(1))

        def correct(data: Mapping[str, Any]) -> dict[str, Any]:
            words = "labelmarker" if "zanzibarred" in str(data) else f"A reply to {data['dialog'][0]['text']}"
            return {"verdict": "fixable", "correction": words}

        annotate(self.parts, correct, label_studio=False)

    def train(self) -> None:
        self.dataset = self.parts.datasets.freeze("rnd_1").id
        work = self.settings.home / "work" / "run_1"
        work.mkdir(parents=True)
        (work / "dataset.json").write_text("zanzibarred")
        with self.parts.store.write() as conn:
            runs.start(conn, "run_1", self.dataset, {}, 1)
            runs.finish(conn, "run_1", problem="KeyError: zanzibarred")
            found = {"losses": [1.0] * 40, "mismatched": [2.0] * 40}
            evidence = {"candidate": {**found, "losses": [0.5] * 40}, "live": found, "bank_failed": []}
            record = evaluations.Evaluation(
                "evl_1", "shop@v1", "shop@v0", self.dataset, evidence, Verdict.PROMOTE, ("better",), now()
            )
            evaluations.add(conn, record)
        base = self.services.engine.base_sha256
        for seed, dataset in ((1, self.dataset), (2, None)):
            self.parts.registry.publish("shop", adapter_files(seed), base_sha256=base, dataset_id=dataset)
        self.release("shop@v1")

    def release(self, adapter: str) -> None:
        started = self.parts.releases.start("shop", adapter, "test")
        self.parts.releases.promote(started.id, "test")
        self.services.reconciler.follow()

    def serves(self) -> str:
        self.services.reconciler.follow()
        return str(self.services.router.aliases["shop"])

    def left(self) -> list[str]:
        """Where Jo's words or ids are still found."""
        secrets = self.parts.secrets
        ids = [secrets.customer(JO), self.stored("jo-1"), self.stored("jo-2"), self.stored("jo-import", "import"), JO]
        ids += [secrets.public_conversation(c) for c in ("jo-1", "jo-2", "jo-import")]
        found = []
        with self.parts.store.read() as conn:
            for table in schema.metadata.sorted_tables:
                for row in conn.execute(sa.select(table)):
                    text = " ".join(_opened(self.parts, value) for value in row)
                    found += [f"table {table.name}: {word}" for word in (*WORDS, *ids) if word in text]
        for path in sorted(self.settings.home.rglob("*")):
            data = _content(path) if path.is_file() else b""
            found += [f"file {path.name}: {word}" for word in (*WORDS, *ids) if word.encode() in data]
        return found


def _content(path: Path) -> bytes:
    """Read by another process: closing a database's file here would let go of the locks of this one's connections."""
    return subprocess.run(["cat", str(path)], check=True, capture_output=True).stdout


def _opened(parts: Parts, value: Any) -> str:
    if not isinstance(value, bytes):
        return str(value)
    try:
        return str(parts.secrets.decrypt(value))
    except Exception:  # noqa: BLE001 - not everything of bytes is sealed
        return repr(value)


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
    with _opened_shop(filled.settings.model_copy(update=changes), filled.key, filled.secret) as made:
        made.dataset = filled.dataset
        made.services.reconciler.follow()
        yield made
    if server:
        server.drop(name)


@dataclass(frozen=True)
class Filled:
    settings: Settings
    database: str | None
    key: ApiKey
    secret: str
    dataset: str


@pytest.fixture(scope="module")
def filled_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    return _filled(tmp_path_factory.mktemp("filled") / "home")


@pytest.fixture(scope="module")
def filled_postgres(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[Filled]:
    name = postgres.create()
    yield _filled(tmp_path_factory.mktemp("filled") / "home", name, database_url=postgres.url(name))
    postgres.drop(name)


def _filled(home: Path, database: str | None = None, **values: Any) -> Filled:
    settings = load_settings(home=home, engine="null", holdout_share=0.4, **values)
    with pytest.MonkeyPatch.context() as patch, _opened_shop(settings) as made:
        patch.setattr(topic_module, "LEAST", 10)
        made.fill()
    return Filled(settings, database, made.key, made.secret, made.dataset)


@contextlib.contextmanager
def _opened_shop(settings: Settings, key: ApiKey | None = None, secret: str = "") -> Iterator[Shop]:
    made = Shop(settings, key, secret)
    with made.http:
        yield made
    made.parts.close()
    made.services.store.close()


def test_nothing_is_left_of_a_customer(shop: Shop) -> None:
    before = shop.left()
    for place in ("turns", "feedback", "quarantine", "annotations", "labels", "arrivals", "answers", "runs"):
        assert [line for line in before if line.startswith(f"table {place}:")], place
    assert [line for line in before if line.startswith("file ")]
    assert shop.serves() == "shop@v1"
    others = _counted(shop)

    answer = shop.http.delete(f"/v1/customers/{JO}")
    assert (answer.status_code, answer.json()["state"]) == (200, "done"), answer.json()
    receipt = answer.json()["receipt"]
    assert receipt["conversations"] == 3
    assert receipt["removed"]["ingest"] == COUNTED
    assert receipt["removed"]["service"] == {"shop@v1": "withdrawn"}
    assert receipt["removed"]["training"]["adapters"] == ["shop@v1"]
    assert shop.http.get(f"/v1/erasures/{receipt['id']}").json()["receipt"] == receipt
    assert shop.serves() == "shop@v0"
    assert AdapterRef("shop", 1) not in shop.services.engine.resident()
    shop.parts.withdrawals.run_once()  # its files, now that nobody serves it
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
    assert shop.parts.datasets.freeze("rnd_2").id  # the next round goes on without


def _counted(shop: Shop) -> dict[str, int]:
    with shop.parts.store.read() as conn:
        return {
            name: conn.execute(sa.select(sa.func.count()).select_from(schema.metadata.tables[name])).scalar_one()
            for name in ("turns", "conversations", "adapters", "evaluations", "api_keys", "reports")
        }


def test_what_was_erased_does_not_come_back(shop: Shop) -> None:
    shop.http.delete(f"/v1/customers/{JO}")
    assert shop.ask(JO, "my zanzibarred kettle again", "jo-1").status_code == 404
    for id, who in (("jo-import", None), ("jo-other-import", JO)):
        result = shop.parts.importer.import_conversations([FileConversation(1, id, who, None, IMPORTED)])
        assert (result.erased, result.new) == (1, 0)
    assert shop.ask(JO, "hello, I am back", "jo-new").status_code == 200  # a new conversation is new
    shop.drain()
    assert [line for line in shop.left() if JO not in line and not line.endswith(shop.parts.secrets.customer(JO))] == []


def test_an_adapter_may_serve_until_it_is_replaced(shop: Shop) -> None:
    answer = shop.http.delete(f"/v1/customers/{JO}?policy=when_replaced").json()
    assert answer["receipt"]["removed"]["service"] == {"shop@v1": "serves until replaced"}
    assert shop.serves() == "shop@v1"
    shop.parts.withdrawals.run_once()
    assert shop.serves() == "shop@v1"
    shop.release("shop@v2")
    assert shop.parts.withdrawals.run_once() == 1
    assert shop.serves() == "shop@v2"
    until(lambda: not shop.parts.withdrawals.run_once() and _deleted(shop), "its files to be deleted", 30)
    with shop.parts.store.read() as conn:
        desired = releases.desired_of(conn, "shop")
    assert desired is not None
    assert desired.previous is None


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
    assert shop.http.delete(f"/v1/customers/{JO}").status_code == 200
    until(lambda: answers[-1][1] == "shop@v0", "the adapter to leave")
    enough.set()
    for thread in threads:
        thread.join()
    assert {status for status, _ in answers} == {200}
    assert {model for _, model in answers} == {"shop@v1", "shop@v0"}


@ON_SQLITE
def test_a_request_on_its_way_to_a_withdrawn_adapter_gets_the_one_in_its_place(shop: Shop) -> None:
    shop.http.delete(f"/v1/customers/{JO}")
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
def test_a_rollback_passes_over_what_may_not_be_served(shop: Shop) -> None:
    shop.http.delete(f"/v1/customers/{JO}?policy=when_replaced")
    shop.release("shop@v2")
    assert shop.parts.releases.rollback_alias("shop", "test").state.value == "rolled_back"
    assert shop.serves() == "shop@v0"


def test_a_second_erasure_reaches_adapters_of_datasets_replaced_before(shop: Shop) -> None:
    with shop.parts.store.read() as conn:
        groups = {member[2] for member in datasets.members(conn, shop.dataset)}
    (other,) = [f"other-{n}" for n in range(10) if shop.stored(f"other-{n}") in groups][:1]
    shop.http.delete(f"/v1/customers/{JO}?policy=when_replaced")
    assert shop.serves() == "shop@v1"
    answer = shop.http.delete(f"/v1/customers/{other}?policy=now").json()["receipt"]
    assert answer["removed"]["training"]["adapters"] == ["shop@v1"]
    assert answer["removed"]["service"] == {"shop@v1": "withdrawn"}
    assert shop.serves() == "shop@v0"


@ON_SQLITE
def test_on_the_command_line(shop: Shop) -> None:
    values: Mapping[str, Any] = shop.settings.model_dump(include={"home", "database_url", "engine"}, exclude_none=True)
    environment = {f"SHOPTALK_{k.upper()}": str(v) for k, v in values.items()}

    def run(*words: str) -> Any:
        try:
            return CliRunner().invoke(app, ["erase", *words], env=environment)
        finally:
            structlog.reset_defaults()  # commands send logs to where they print, which is closed by now

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
def test_customers_nobody_knows_and_wrong_requests(shop: Shop) -> None:
    answer = shop.http.delete("/v1/customers/nobody@here")
    assert (answer.status_code, answer.json()["receipt"]["conversations"]) == (200, 0)
    assert shop.http.delete("/v1/customers/x?policy=never").status_code == 400
    assert shop.http.get("/v1/erasures/era_unknown").status_code == 404
    _, reader = shop.parts.new_key("reader", [Scope.READ, Scope.CHAT])
    refused = shop.http.delete(f"/v1/customers/{JO}", headers={"Authorization": f"Bearer {reader}"})
    assert refused.status_code == 403
    assert shop.left()


# forks a process for each attempt, since loading everything anew takes longer than the erasure
DYING = """
import json, os, signal, sys
from ingest.erasure import Erasures
from shoptalk.app.parts import Parts
from shoptalk.settings import load_settings
from ingest.features import topics
real, killed = Erasures._record, []

def record(self, erasure, step, counts):
    os.write(said, step.encode())
    if step in killed:  # it was killed before its record already
        real(self, erasure, step, counts)
    os.kill(os.getpid(), signal.SIGKILL)

Erasures._record = record
while len(killed) < 60:
    heard, said = os.pipe()
    if not os.fork():
        parts = Parts(load_settings())
        os.write(said, json.dumps(parts.erasures.run(parts.erasures.begin_customer(sys.argv[1])).receipt).encode())
        os._exit(0)
    os.close(said)
    with os.fdopen(heard) as file:
        text = file.read()
    status = os.waitstatus_to_exitcode(os.wait()[1])
    if status != -signal.SIGKILL:
        print(json.dumps([status, killed, text]), file=sys.stderr)
        break
    killed.append(text)
"""


@ON_SQLITE
def test_a_kill_at_each_step_does_not_stop_it(shop: Shop) -> None:
    values: Mapping[str, Any] = shop.settings.model_dump(include={"home", "database_url", "engine"}, exclude_none=True)
    environment = {**os.environ, **{f"SHOPTALK_{k.upper()}": str(v) for k, v in values.items()}}
    command = [sys.executable, "-c", DYING, JO]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    status, killed, receipt = json.loads(done.stderr.splitlines()[-1])
    assert status == 0, done.stderr[-800:]
    # before and after each step's record; where that is made with the removal, there is no step left to be killed in
    names = [f"{eraser.name}{again}" for eraser in shop.parts.erasers() for again in ("", AGAIN)]
    at_once = {f"{name}{again}" for name in ("ingest", "chatbot", "labeling") for again in ("", AGAIN)}
    assert Counter(killed) == {name: 1 if name in at_once else 2 for name in [*names, CLEAN]}
    removed = json.loads(receipt)["removed"]
    assert removed["ingest"] == COUNTED
    assert (removed["chatbot"]["inferences"], removed["labeling"]["samples"]) == (2, 1)
    shop.serves()
    shop.parts.withdrawals.run_once()
    assert shop.left() == []


def test_every_table_and_folder_is_covered(shop: Shop) -> None:
    covered: set[str] = set().union(*(eraser.covers for eraser in shop.parts.erasers()))
    assert {t.name for t in schema.metadata.sorted_tables} - covered == set(EXEMPT)
    made = {f"{path.name}/" for path in shop.settings.home.iterdir() if path.is_dir()}
    assert made <= covered | set(FOLDERS)
    with shop.parts.store.read() as conn:
        assert datasets.newest(conn)
