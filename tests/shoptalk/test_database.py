"""Migrations and transactions, alike on SQLite and PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from shoptalk.errors import ConfigurationError
from shoptalk.store import Store, schema
from shoptalk.store.chat import keys
from shoptalk.store.columns import metadata
from shoptalk.store.database import MOST_BOUND, exclusively, in_chunks, insert_new, upsert
from shoptalk.store.ingest import inbox
from shoptalk.store.schema import answers, rounds
from tests.rows import number

WHEN = datetime(2026, 3, 1, 12, 30, 15, 250000, tzinfo=timezone(timedelta(hours=5, minutes=30)))


def test_migrating_twice_changes_nothing(empty_url: str) -> None:
    store = Store(empty_url)
    store.migrate()
    with store.write() as conn:
        inbox.add(conn, "inf_1", "exchange", "con_1", b"encrypted")
    store.migrate()
    with store.read() as conn:
        assert inbox.count(conn) == 1
    store.close()


@pytest.mark.slow
def test_processes_may_migrate_at_once(empty_url: str) -> None:
    code = "import sys; from shoptalk.store import Store; s = Store(sys.argv[1]); s.migrate(); s.close()"
    children = [
        subprocess.Popen([sys.executable, "-c", code, empty_url], stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    ends = [(child.communicate()[1], child.returncode) for child in children]
    assert [(code, error[-400:]) for error, code in ends if code] == []
    store = Store(empty_url)
    with store.read() as conn:
        assert set(metadata.tables) <= set(sa.inspect(conn).get_table_names())
    store.close()


def test_migrations_make_the_tables_the_code_describes(store: Store) -> None:
    with store.read() as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_an_unknown_database_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="use sqlite or postgresql"):
        Store("mysql://localhost/shop")


def test_bare_postgresql_means_psycopg_3() -> None:
    assert Store("postgresql://localhost/shop").url.drivername == "postgresql+psycopg"


def test_times_come_back_as_utc(store: Store) -> None:
    values = {"id": "rnd_1", "state": "running", "step": "start", "learn_now": 0}
    values |= {"created_at": WHEN, "updated_at": WHEN}
    with store.write() as conn:
        insert_new(conn, rounds, values)
        found = conn.execute(sa.select(rounds.c.created_at)).scalar_one()
    assert (found, found.tzinfo) == (WHEN, UTC)


def test_times_without_a_zone_are_refused(store: Store) -> None:
    naive = WHEN.replace(tzinfo=None)
    values = {"id": "rnd_1", "state": "running", "step": "start", "learn_now": 0}
    values |= {"created_at": naive, "updated_at": naive}
    with store.write() as conn, pytest.raises(sa.exc.StatementError, match="timezone-aware"):
        insert_new(conn, rounds, values)


def test_a_failed_block_leaves_nothing(store: Store) -> None:
    def fail_halfway() -> None:
        with store.write() as conn:
            inbox.add(conn, "inf_1", "exchange", "con_1", b"encrypted")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    with store.read() as conn:
        assert inbox.count(conn) == 0


def test_a_read_is_one_snapshot(store: Store) -> None:
    with store.read() as reading:
        assert inbox.count(reading) == 0
        with store.write() as conn:
            inbox.add(conn, "inf_1", "exchange", "con_1", b"encrypted")
        assert inbox.count(reading) == 0
    with store.read() as reading:
        assert inbox.count(reading) == 1


def test_insert_new_takes_a_key_once(store: Store) -> None:
    row = {"id": "a", "body_sha256": "0" * 64, "status": 200, "body": b"first", "created_at": WHEN}
    with store.write() as conn:
        assert insert_new(conn, answers, row)
        assert not insert_new(conn, answers, {**row, "body": b"second"})
        assert conn.execute(sa.select(answers.c.body)).scalar_one() == b"first"


def test_upsert_overwrites_all_but_the_key(store: Store) -> None:
    row = {"id": "a", "body_sha256": "0" * 64, "status": 200, "body": b"first", "created_at": WHEN}
    with store.write() as conn:
        upsert(conn, answers, row, ["id"])
        upsert(conn, answers, {**row, "body": b"second"}, ["id"])
        assert conn.execute(sa.select(answers.c.body)).scalars().all() == [b"second"]


def test_one_id_arrives_once_from_many_threads(store: Store) -> None:
    news: list[bool] = []

    def arrive() -> None:
        with store.write() as conn:
            news.append(inbox.add(conn, "inf_1", "exchange", "con_1", b"encrypted"))

    _at_once(arrive, 8)
    assert sorted(news) == [False] * 7 + [True]


def test_an_exclusive_block_lets_one_transaction_in_at_a_time(store: Store) -> None:
    def count_up() -> None:
        with store.write() as conn:
            exclusively(conn, "counter")
            inbox.add(conn, f"inf_{inbox.count(conn)}", "exchange", "con_1", b"encrypted")

    _at_once(count_up, 8)
    with store.read() as conn:
        assert inbox.count(conn) == 8


def test_sqlite_survives_power_loss_and_overwrites_what_is_deleted(sqlite_store: Store) -> None:
    with sqlite_store.read() as conn:
        pragmas = {
            p: conn.exec_driver_sql(f"pragma {p}").scalar() for p in ("journal_mode", "synchronous", "secure_delete")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1}


def test_sqlite_makes_its_folder(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'a' / 'b' / 'shoptalk.db'}")
    store.migrate()
    with store.read() as conn:
        assert (number(conn, schema.turns), number(conn, schema.feedback), keys.everyone(conn)) == (0, 0, [])
    store.close()


def _at_once(work: Callable[[], None], times: int) -> None:
    barrier = threading.Barrier(times)

    def run() -> None:
        barrier.wait()
        work()

    with ThreadPoolExecutor(times) as pool:
        for done in [pool.submit(run) for _ in range(times)]:
            done.result()


def test_ids_are_divided_for_statements() -> None:
    ids = [f"id_{n}" for n in range(2 * MOST_BOUND + 1)]
    assert [len(part) for part in in_chunks(ids)] == [MOST_BOUND, MOST_BOUND, 1]
    assert [id for part in in_chunks(ids) for id in part] == ids
    assert list(in_chunks([])) == []
