"""The answer that was given to each Idempotency-Key. The caller encrypts bodies."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from shoptalk.store.database import bodies, count_up_to, insert_new, now, swap_body
from shoptalk.store.schema import answers as t


def find(conn: sa.Connection, key: str) -> tuple[str, int, bytes] | None:
    """Return (hash of the request's body, status, encrypted answer)."""
    row = conn.execute(sa.select(t.c.body_sha256, t.c.status, t.c.body).where(t.c.id == key)).first()
    return (row.body_sha256, row.status, row.body) if row else None


def add(conn: sa.Connection, key: str, body_sha256: str, status: int, body: bytes, conversation: str) -> bool:
    """Store an answer; return whether its key was new."""
    values = {"id": key, "body_sha256": body_sha256, "status": status, "body": body, "created_at": now(conn)}
    return insert_new(conn, t, {**values, "conversation_id": conversation})


def count_before(conn: sa.Connection, moment: datetime, most: int = 10_000) -> int:
    """Return how many answers were given before a moment, at most `most`."""
    return count_up_to(conn, sa.select(t.c.id).where(t.c.created_at < moment), most)


def remove_before(conn: sa.Connection, moment: datetime, limit: int) -> int:
    """Delete at most `limit` answers that were given before a moment; return how many."""
    old = sa.select(t.c.id).where(t.c.created_at < moment).order_by(t.c.created_at).limit(limit)
    return conn.execute(sa.delete(t).where(t.c.id.in_(old))).rowcount


def encrypted(conn: sa.Connection, limit: int, after: str | None = None) -> list[tuple[str, bytes]]:
    """Return (id, body) of at most `limit` answers, in the ids' order, from after one on."""
    return bodies(conn, t.c.id, t.c.body, limit, after)


def replace_body(conn: sa.Connection, id: str, before: bytes, body: bytes) -> None:
    """Replace a body, unless it is no longer `before`."""
    swap_body(conn, t.c.id, t.c.body, id, before, body)


def erase(conn: sa.Connection, conversations: Sequence[str]) -> int:
    """Delete the answers of conversations, and those that are too old to name theirs; return how many."""
    whose = sa.or_(t.c.conversation_id.in_(list(conversations)), t.c.conversation_id.is_(None))
    return conn.execute(sa.delete(t).where(whose)).rowcount
