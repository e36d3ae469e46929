"""A store from before there were queues and totals opens with them filled, and goes back."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

import shoptalk.store
from bench.bulk import grow
from shoptalk.store import Store, counters, schema, totals
from shoptalk.store.ingest import conversations, feature_queue
from tests.rows import number


def migrate(store: Store, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(shoptalk.store.__file__).parent / "migrations"))
    with store.engine.connect() as conn:
        conn = conn.execution_options(shoptalk_write=True)
        with conn.begin():
            config.attributes["connection"] = conn
            (command.downgrade if revision == "0006" else command.upgrade)(config, revision)


def every_total(conn: sa.Connection) -> dict[str, float]:
    query = sa.select(schema.counters.c.name, schema.counters.c.value).where(schema.counters.c.day == counters.ALL)
    return {name: value for name, value in conn.execute(query)}


def test_queues_and_totals_are_filled(store: Store) -> None:
    grow(store, 60, labelled=9, dimensions=8)
    with store.write() as conn:
        conn.execute(sa.delete(schema.turn_features).where(schema.turn_features.c.turn_id == f"trn_{8:032x}"))
        for n, variant in ((3, "exact"), (4, None)):  # an exact version, and an import
            mine = schema.inferences.c.conversation_id == f"con_{n:032x}"
            if variant:
                conn.execute(sa.update(schema.inferences).where(mine).values(variant=variant))
            else:
                conn.execute(sa.delete(schema.inferences).where(mine))
        totals.recount(conn)
        before = every_total(conn)
    migrate(store, "0006")
    migrate(store, "head")
    with store.read() as conn:
        assert every_total(conn) == before
        assert feature_queue.waiting(conn) == 1
        assert number(conn, schema.admitted_conversations) == 60
        own = conversations.newest(conn, conversations.customers_of("shop"), 99)
        assert [c.id for c in conversations.newest(conn, conversations.EXACT, 9)] == [f"con_{3:032x}"]
        assert [c.id for c in conversations.newest(conn, conversations.IMPORT, 9)] == [f"con_{4:032x}"]
        assert [c.id for c in own] == [f"con_{n:032x}" for n in range(59, -1, -1) if n not in (3, 4)]
        names = conn.execute(sa.select(schema.topic_models.c.names)).scalar_one()
    assert names == list(range(40))
