"""What runs by itself costs the same in a large store as in a small one: no scan of a table that grows."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count as count_up
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from bench.bulk import grow
from chatbot.console.overview import read_overview
from ingest.inbox.acceptance import EncryptedInbox
from shoptalk.app.parts import Parts
from shoptalk.app.worker import build_lanes, waiting
from shoptalk.events import ExchangeRecorded, TurnRecorded
from shoptalk.processes.lanes import Lane
from shoptalk.settings import load_settings
from shoptalk.store import Store
from tests.shoptalk.test_worker import NoJobs

pytestmark = pytest.mark.slow
#: tables that do not grow with the shop's age: rows of processes, settings, or things of which there are few at a time
BOUNDED = frozenset({
    "workers", "leases", "cursors", "counters", "desired", "observed", "label_projects", "api_keys", "rate_buckets",
    "alembic_version", "feature_queue",
})  # fmt: skip
#: indexes of what is not done yet
OPEN = frozenset({"ix_adapter_marks_kept", "ix_samples_unpushed", "ix_arrivals_free"})
SCAN = re.compile(r"^SCAN (\w+)(?: USING (?:COVERING )?INDEX (\S+))?")
STEPS = 100  # of SQLite's machine, between two counts


class Watched:
    """Counts the work of a store's SQLite, and keeps its statements."""

    def __init__(self, store: Store) -> None:
        self.statements: dict[str, Any] = {}
        self.work = 0
        event.listen(store.engine, "before_cursor_execute", self._keep)
        event.listen(store.engine, "connect", self._watch)
        event.listen(store.engine, "checkout", lambda raw, *_: self._watch(raw))

    def _keep(self, _conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        self.statements[statement] = parameters[0] if many else parameters

    def _watch(self, raw: sqlite3.Connection, *_: Any) -> None:
        raw.set_progress_handler(self._count, STEPS)

    def _count(self) -> int:
        self.work += 1
        return 0


class Shop:
    """A shop of some size with a worker's lanes, whose jobs do nothing."""

    def __init__(self, home: Path, count: int) -> None:
        settings = load_settings(home=home, engine="null", label_studio_token="0" * 40, round_schedule="0 3 * * *")
        self._numbers = count_up()
        self.parts = Parts(settings)
        self.store = self.parts.store
        grow(self.store, count, labelled=50, dimensions=384)
        self.lanes: list[Lane] = build_lanes(self.parts, NoJobs())
        self.watched = Watched(self.store)
        for _ in range(2):  # models load, and what is due once is done
            self.run(1)

    def run(self, exchanges: int) -> None:
        """Let something be admitted, and each lane do what is due; look at what a console and a monitor show."""
        self.admit(exchanges)
        for lane in self.lanes:
            for item in lane.reconcilers:
                item.due = 0.0
            for _ in range(3):
                lane.run_due(threading.Event())
        read_overview(self.store, self.parts.settings)
        waiting(self.store)

    def admit(self, count: int) -> None:
        accept = EncryptedInbox(self.parts.secrets)
        with self.store.write() as conn:
            for n in islice(self._numbers, count):
                said = TurnRecorded(id=f"trn_new{n}", role="user", text=f"Where is parcel {n}?", at=self.store.now())
                payload = ExchangeRecorded(source="chat", scrubber="1", turns=[said])
                accept.accept(conn, f"inf_new{n}", payload, f"con_new{n}")

    def close(self) -> None:
        self.parts.close()


@contextmanager
def shop(home: Path, count: int) -> Iterator[Shop]:
    made = Shop(home, count)
    try:
        yield made
    finally:
        made.close()


def scans(found: Shop) -> list[str]:
    """Return the statements that scan a table that grows, as SQLite plans them."""
    wrong = []
    with found.store.engine.connect() as conn:
        for statement, parameters in list(found.watched.statements.items()):
            if not re.match(r"\s*(with|select|update|delete|insert)\b", statement, re.IGNORECASE):
                continue
            plan = conn.exec_driver_sql(f"explain query plan {statement}", parameters).all()
            limited = " limit " in statement.lower() or "LIMIT ?" in statement
            for *_, line in plan:
                scan = SCAN.match(line)
                if (
                    scan
                    and scan[1] not in BOUNDED
                    and scan[1] in table_names()
                    and not (scan[2] in OPEN or (scan[2] and limited))
                ):
                    wrong.append(f"{line}: {' '.join(statement.split())[:300]}")
    return wrong


def table_names() -> set[str]:
    from shoptalk.store.columns import metadata

    return set(metadata.tables)


def test_no_statement_that_runs_by_itself_scans_a_table_that_grows(tmp_path: Path) -> None:
    with shop(tmp_path, 2_000) as found:
        found.run(3)
        assert len(found.watched.statements) > 60
        assert scans(found) == []


def test_the_work_is_the_same_in_a_store_ten_times_as_large(tmp_path: Path) -> None:
    work = []
    for name, count in (("small", 10_000), ("large", 100_000)):
        with shop(tmp_path / name, count) as found:
            before = found.watched.work
            for _ in range(3):
                found.run(3)
            work.append(found.watched.work - before)
    assert work[1] < 1.5 * work[0]


def test_the_scanner_finds_a_scan(tmp_path: Path) -> None:
    with shop(tmp_path, 100) as found, found.store.read() as conn:
        conn.execute(sa.text("select count(*) from turns where text like '%where%'"))
        assert any("FROM turns" in line or "from turns" in line for line in scans(found))
