"""The shop of the erasure tests: Jo's data in every place, beside data of others, and the search for what is left."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from chatbot.engine.null import NullEngine
from ingest.features import topics as topic_module
from ingest.features.computer import DIMENSIONS, FeatureComputer
from ingest.features.topics import Topics
from ingest.formats.files import FileConversation, FileTurn
from ingest.inbox.drain import Drain
from shoptalk.app.api import build_api
from shoptalk.app.parts import Parts
from shoptalk.demo.helpers import annotate
from shoptalk.domain import ApiKey, Scope, Verdict
from shoptalk.settings import Settings, load_settings
from shoptalk.store import schema
from shoptalk.store.ingest import quarantine
from shoptalk.store.ingest.conversations import Place
from shoptalk.store.monitoring import drift_checks, reports
from shoptalk.store.training import datasets, evaluations, runs
from tests.clocks import now
from tests.e2e.test_gate_release import adapter_files
from tests.rows import drift_check

WORDS = ("zanzibarred", "quuxcomment", "importmarker", "jollyimport", "labelmarker", "brokenmarker", "pendingmarker")
JO = "jo-the-customer"
OTHERS = (
    "does this kettle whistle when it boils", "how long do you keep parcels at the shop", "I want my money back for it",
    "is the big toaster still made in green", "why was delivery so late this time", "can I pay when it arrives",
    "what is your policy on broken lids", "do you repair coffee mills", "my coupon is not accepted at all",
    "the handle came off after one day",
)  # fmt: skip
IMPORTED = (FileTurn("user", "importmarker is what I said there", None), FileTurn("assistant", "jollyimport", None))


class Ones:
    """An embedding model that gives all texts the same vector."""

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return np.full((len(texts), DIMENSIONS), DIMENSIONS**-0.5, dtype=np.float32)


class Shop:
    """A shop with data of Jo in every place, beside data of others."""

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
            encrypted = secrets.encrypt({"turns": "brokenmarker"})
            quarantine.add(conn, "q1", "exchange", self.stored("jo-1"), "invalid", encrypted)
            quarantine.add(conn, "q2", "exchange", self.stored("other-1"), "invalid", encrypted[:9])
        page = self.parts.artifacts.put(b"<html>they said zanzibarred</html>")
        with self.parts.store.write() as conn:
            reports.add(conn, reports.Report("rep_1", "drift", page, {"rows": 3}, now()))
            old = self.parts.artifacts.put(b"<html>before all this</html>")
            reports.add(conn, reports.Report("rep_0", "drift", old, {}, now() - timedelta(days=1)))
            drift_checks.add(conn, drift_check("chk_1", 0.5, now(), end=Place(now(), self.stored("jo-1"))))

    def label(self) -> None:
        import random

        from labeling.sampling import sample

        sample(self.parts.store, "rnd_1", 100, random.Random(1))

        def correct(data: Mapping[str, Any]) -> dict[str, Any]:
            words = "labelmarker" if "zanzibarred" in str(data) else f"A reply to {data['dialog'][0]['text']}"
            return {"verdict": "fixable", "correction": words}

        annotate(self.parts, correct, label_studio=False)

    def train(self) -> None:
        with self.parts.store.write() as conn:
            datasets.assign(conn, {self.parts.secrets.customer(JO): "train"})
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

    def erase(self, customer: str, policy: str | None = None) -> dict[str, Any]:
        """Erase over HTTP, let a worker clean, and return the erasure."""
        answer = self.http.delete(f"/v1/customers/{customer}", params={"policy": policy} if policy else {})
        assert answer.status_code == 202, answer.text
        self.parts.erasures.run_once()
        found: dict[str, Any] = self.http.get(f"/v1/erasures/{answer.json()['id']}").json()
        return found

    def release(self, adapter: str) -> None:
        started = self.parts.releases.start("shop", adapter, "test")
        self.parts.releases.promote(started.id, "test")
        self.services.follower.follow()

    def serves(self) -> str:
        self.services.follower.follow()
        return str(self.services.router.aliases["shop"])

    def left(self) -> list[str]:
        """Return where Jo's words or ids are still found."""
        secrets = self.parts.secrets
        ids = [secrets.customer(JO), self.stored("jo-1"), self.stored("jo-2"), self.stored("jo-import", "import"), JO]
        ids += [secrets.public_conversation(c) for c in ("jo-1", "jo-2", "jo-import")]
        found = []
        with self.parts.store.read() as conn:
            for table in schema.metadata.sorted_tables:
                for row in conn.execute(sa.select(table)):
                    text = " ".join(_decrypted(self.parts, value) for value in row)
                    found += [f"table {table.name}: {word}" for word in (*WORDS, *ids) if word in text]
        for path in sorted(self.settings.home.rglob("*")):
            data = _content(path) if path.is_file() else b""
            found += [f"file {path.name}: {word}" for word in (*WORDS, *ids) if word.encode() in data]
        return found


def _content(path: Path) -> bytes:
    """Read a file by another process: closing a database's file here would release the locks of our connections."""
    return subprocess.run(["cat", str(path)], check=True, capture_output=True).stdout


def _decrypted(parts: Parts, value: Any) -> str:
    if not isinstance(value, bytes):
        return str(value)
    try:
        return str(parts.secrets.decrypt(value))
    except Exception:  # noqa: BLE001 - not all bytes are encrypted
        return repr(value)


@dataclass(frozen=True)
class Filled:
    """How to open a copy of a filled shop."""

    settings: Settings
    database: str | None
    key: ApiKey
    secret: str
    dataset: str


def fill(home: Path, database: str | None = None, **values: Any) -> Filled:
    """Fill a new shop in the folder `home`."""
    settings = load_settings(home=home, engine="null", holdout_share=0.4, **{"erasure_policy": "now", **values})
    with pytest.MonkeyPatch.context() as patch, opened_shop(settings) as made:
        patch.setattr(topic_module, "LEAST", 10)
        made.fill()
    return Filled(settings, database, made.key, made.secret, made.dataset)


@contextlib.contextmanager
def opened_shop(settings: Settings, key: ApiKey | None = None, secret: str = "") -> Iterator[Shop]:
    """Run a shop's API while the context lasts."""
    made = Shop(settings, key, secret)
    with made.http:
        yield made
    made.parts.close()
    made.services.store.close()
