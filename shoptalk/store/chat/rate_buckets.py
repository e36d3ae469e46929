"""What is left in each rate limit's bucket, where several API processes share them. A full bucket has no row."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from shoptalk.store.database import exclusively, upsert
from shoptalk.store.schema import rate_buckets as t

TIDIED: Final = 1000  # rows at a time


def held(conn: sa.Connection, id: str) -> tuple[float, float] | None:
    """(Tokens, when), kept from other transactions until this one ends."""
    exclusively(conn, f"rate bucket {id}")
    row = conn.execute(sa.select(t.c.tokens, t.c.at).where(t.c.id == id)).first()
    return (row.tokens, row.at) if row else None


def put(conn: sa.Connection, id: str, tokens: float, at: float, full_at: float) -> None:
    upsert(conn, t, {"id": id, "tokens": tokens, "at": at, "full_at": full_at}, ["id"])


def forget_full(conn: sa.Connection, now: float) -> int:
    """Remove buckets that are full again by now, some at a time; says how many."""
    full = sa.select(t.c.id).where(t.c.full_at <= now).order_by(t.c.full_at).limit(TIDIED)
    ids = list(conn.execute(full).scalars())
    return conn.execute(sa.delete(t).where(t.c.id.in_(ids), t.c.full_at <= now)).rowcount


def count(conn: sa.Connection) -> int:
    """For tests and measurements: it reads the whole table."""
    return conn.execute(sa.select(sa.func.count()).select_from(t)).scalar_one()
