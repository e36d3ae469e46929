"""Opens the database and its transactions; SQLite and PostgreSQL behave alike to callers. Knows no table.

SQLite runs in WAL with `synchronous=FULL`, so a commit that returned survives power loss;
writers take the lock at BEGIN (`BEGIN IMMEDIATE`), so none fails half-way; `secure_delete` overwrites what
is deleted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy import event

from shoptalk.clock import Clock
from shoptalk.errors import ConfigurationError, Conflict

PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "busy_timeout=30000",
    "secure_delete=ON",
)
CLOCK = "shoptalk_clock"
#: values bound in one statement, at most: far below SQLite's and PostgreSQL's limits of 32 766 and 65 535
MOST_BOUND: Final = 500
T = TypeVar("T")


class Store:
    """A database, opened lazily; thread-safe. Close it when done."""

    def __init__(self, url: str, clock: Clock | None = None) -> None:
        """`url` is an SQLAlchemy URL; a bare `postgresql://` means psycopg 3. Rows get their times from `clock`."""
        self.clock = clock or Clock()
        parsed = sa.make_url(url)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise ConfigurationError(
                f"database_url: '{parsed.drivername}' is not supported", fix="use sqlite or postgresql"
            )
        self.sqlite = parsed.get_backend_name() == "sqlite"
        if self.sqlite and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        self.url = parsed
        self.engine = sa.create_engine(parsed, pool_pre_ping=not self.sqlite, hide_parameters=True)
        if self.sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)

    def migrate(self) -> None:
        """Bring the schema to the newest revision. Idempotent; safe to run from several processes."""
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self.engine.connect() as conn:
            conn = conn.execution_options(shoptalk_write=True)
            with conn.begin():
                if not self.sqlite:
                    conn.execute(sa.text("select pg_advisory_xact_lock(7034001)"))
                config.attributes["connection"] = conn
                command.upgrade(config, "head")

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a transaction that reads one consistent snapshot."""
        with self.engine.connect() as conn:
            conn = conn.execution_options(**{CLOCK: self.clock})
            if not self.sqlite:  # whose default lets each statement see what others committed meanwhile
                conn = conn.execution_options(isolation_level="REPEATABLE READ")
            with conn.begin():
                yield conn

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Open a transaction that writes all or nothing; it is durable when the block ends."""
        with self.engine.connect() as conn:
            conn = conn.execution_options(shoptalk_write=True, **{CLOCK: self.clock})
            with conn.begin():
                yield conn

    def now(self) -> datetime:
        """Return business time, by which rows are stamped."""
        return self.clock.business.now()

    def close(self) -> None:
        self.engine.dispose()


def now(conn: sa.Connection) -> datetime:
    """Return business time, by the clock of the store that opened the transaction."""
    clock: Clock = conn.get_execution_options()[CLOCK]
    return clock.business.now()


def machine_now(conn: sa.Connection) -> datetime:
    """Return machine time, for leases and heartbeats."""
    clock: Clock = conn.get_execution_options()[CLOCK]
    return clock.machine.now()


def _prepare_sqlite(dbapi: sqlite3.Connection, _record: Any) -> None:
    dbapi.isolation_level = None  # we say BEGIN ourselves, below
    for pragma in PRAGMAS:
        dbapi.execute(f"PRAGMA {pragma}")


def _begin_sqlite(conn: sa.Connection) -> None:
    mode = "IMMEDIATE" if conn.get_execution_options().get("shoptalk_write") else "DEFERRED"
    conn.exec_driver_sql(f"BEGIN {mode}")


def exclusively(conn: sa.Connection, what: str) -> None:
    """Take an advisory lock named `what` until the transaction ends, for decisions that depend on rows read before.

    On SQLite it does nothing, since only one transaction writes at a time there.
    """
    if conn.dialect.name == "postgresql":
        conn.execute(sa.text("select pg_advisory_xact_lock(hashtextextended(:what, 7034001))"), {"what": what})


def count_up_to(conn: sa.Connection, query: sa.Select[Any], most: int) -> int:
    """Return how many rows a query finds, at most `most`, without reading more."""
    return conn.execute(sa.select(sa.func.count()).select_from(query.limit(most).subquery())).scalar_one()


def in_chunks(ids: Sequence[T]) -> Iterator[list[T]]:
    """Divide ids, in order, into lists that are short enough for one statement."""
    for start in range(0, len(ids), MOST_BOUND):
        yield list(ids[start : start + MOST_BOUND])


def upsert(conn: sa.Connection, table: sa.Table, values: dict[str, Any], keys: list[str]) -> None:
    """Insert a row or, where one with the same `keys` exists, overwrite its other columns."""
    from sqlalchemy.dialects import postgresql, sqlite

    dialect = sqlite if conn.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table).values(**values)
    rest = {name: statement.excluded[name] for name in values if name not in keys}
    if rest:
        conn.execute(statement.on_conflict_do_update(index_elements=keys, set_=rest))
    else:
        conn.execute(statement.on_conflict_do_nothing(index_elements=keys))


def insert_new(conn: sa.Connection, table: sa.Table, values: dict[str, Any]) -> bool:
    """Insert a row unless a unique key is taken; return whether it was inserted."""
    statement = _insert_new(table, conn.dialect.name)
    return conn.execute(statement, values).first() is not None  # a row count says nothing on PostgreSQL


def bodies(conn: sa.Connection, key: sa.Column[Any], body: sa.Column[Any], limit: int, after: Any) -> list[Any]:
    """Return (key, body) of at most `limit` rows that have a body, in the keys' order, from after a key on."""
    query = sa.select(key, body).where(body.is_not(None)).order_by(key).limit(limit)
    return [tuple(row) for row in conn.execute(query if after is None else query.where(key > after))]


def swap_body(
    conn: sa.Connection, key: sa.Column[Any], body: sa.Column[Any], value: Any, before: bytes, after: bytes
) -> None:
    """Replace the body of the row with this key, unless it is no longer `before`: a compare-and-swap."""
    conn.execute(sa.update(key.table).where(key == value, body == before).values({body: after}))


@cache
def _insert_new(table: sa.Table, dialect: str) -> Any:
    """Return the statement without values, made once: making a statement takes longer than executing it."""
    from sqlalchemy.dialects import postgresql, sqlite

    of_dialect = sqlite if dialect == "sqlite" else postgresql
    return of_dialect.insert(table).on_conflict_do_nothing().returning(sa.literal(1))


def clean(store: Store, patience_s: float = 30.0) -> str:
    """Remove deleted content from the database's files and return what was done, in words.

    SQLite overwrites it by itself (`secure_delete`); here its write-ahead log is emptied. PostgreSQL's tables are
    vacuumed. Raises Conflict where readers keep SQLite's log busy for longer than `patience_s`.
    """
    if not store.sqlite:
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.exec_driver_sql("VACUUM")
        return "vacuumed"
    deadline = store.clock.machine.monotonic() + patience_s
    while True:
        with store.engine.connect() as conn:
            raw = conn.connection.driver_connection
            assert isinstance(raw, sqlite3.Connection)
            (busy, *_) = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not busy:
            return "the write-ahead log was emptied"
        if store.clock.machine.monotonic() >= deadline:
            raise Conflict("the database's log is busy; it is emptied when its readers are done")
        store.clock.machine.sleep(0.1)
