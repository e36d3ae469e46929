"""Rows that tests look at and the program does not."""

from __future__ import annotations

import sqlalchemy as sa

from shoptalk.domain import Turn
from shoptalk.store import schema
from shoptalk.store.ingest import turns


def newest_turns(conn: sa.Connection) -> list[Turn]:
    """Return all admitted turns, newest first."""
    query = sa.select(schema.turns.c.id).order_by(schema.turns.c.seq.desc(), schema.turns.c.id)
    ids = list(conn.execute(query).scalars())
    found = turns.many(conn, ids)
    return [found[id] for id in ids]
