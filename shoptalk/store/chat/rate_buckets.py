"""Token buckets of rate limits that several API processes share. A full bucket has no row."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from shoptalk.store.database import exclusively, upsert
from shoptalk.store.schema import rate_buckets as t

TIDIED: Final = 1000  # rows at a time


def held(conn: sa.Connection, id: str) -> tuple[float, float] | None:
    """Return a bucket's (tokens, time); it is locked for other transactions until this one ends."""
    exclusively(conn, f"rate bucket {id}")
    row = conn.execute(sa.select(t.c.tokens, t.c.at).where(t.c.id == id)).first()
    return (row.tokens, row.at) if row else None


def put(conn: sa.Connection, id: str, tokens: float, at: float, full_at: float) -> None:
    upsert(conn, t, {"id": id, "tokens": tokens, "at": at, "full_at": full_at}, ["id"])


def forget_full(conn: sa.Connection, now: float) -> int:
    """Delete buckets that are full again by `now`, at most TIDIED at a time; return how many."""
    full = sa.select(t.c.id).where(t.c.full_at <= now).order_by(t.c.full_at).limit(TIDIED)
    ids = list(conn.execute(full).scalars())
    return conn.execute(sa.delete(t).where(t.c.id.in_(ids), t.c.full_at <= now)).rowcount


def count(conn: sa.Connection) -> int:
    """Return the number of buckets. For tests and measurements only: it reads the whole table."""
    return conn.execute(sa.select(sa.func.count()).select_from(t)).scalar_one()
