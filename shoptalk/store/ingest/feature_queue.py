"""Turns whose features are to be computed. A worker claims some for a while; what it computed leaves the queue."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from shoptalk.store.database import count_up_to, in_chunks, insert_new, machine_now
from shoptalk.store.schema import feature_queue as t

CLAIM: Final = timedelta(seconds=120)  # how long what a worker that died claimed is left alone


def add(conn: sa.Connection, turn_id: str, seq: int) -> None:
    """Queue a turn; one that is queued already is as good as never claimed."""
    if not insert_new(conn, t, {"turn_id": turn_id, "seq": seq}):
        conn.execute(sa.update(t).where(t.c.turn_id == turn_id).values(claimed_until=None))


def claim(conn: sa.Connection, limit: int) -> list[str]:
    """Claim the oldest turns that nobody has claimed; return their ids, oldest first."""
    moment = machine_now(conn)
    free = (
        sa.select(t.c.turn_id)
        .where(sa.or_(t.c.claimed_until.is_(None), t.c.claimed_until < moment))
        .order_by(t.c.seq, t.c.turn_id)
        .limit(limit)
        .with_for_update(skip_locked=True)  # of two workers at once, neither waits for the other
    )
    taken = sa.update(t).where(t.c.turn_id.in_(free)).values(claimed_until=moment + CLAIM)
    return [row.turn_id for row in sorted(conn.execute(taken.returning(t.c.turn_id, t.c.seq)), key=lambda row: row[1])]


def done(conn: sa.Connection, turn_ids: Sequence[str]) -> None:
    """Take turns out of the queue."""
    for part in in_chunks(turn_ids):
        conn.execute(sa.delete(t).where(t.c.turn_id.in_(part)))


def waiting(conn: sa.Connection, most: int = 10_000) -> int:
    """Return how many turns wait or are being worked on, at most `most`."""
    return count_up_to(conn, sa.select(t.c.turn_id), most)
