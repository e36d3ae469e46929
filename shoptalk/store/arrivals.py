"""What the API acknowledged and the drain has not yet admitted; bodies are encrypted by the caller."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from shoptalk.domain import now
from shoptalk.store.database import insert_new
from shoptalk.store.tables import arrivals as t

OWNER: Final = "ingest"


@dataclass(frozen=True, slots=True)
class Arrival:
    """One acknowledged thing: `kind` is `exchange` or `feedback`."""

    seq: int
    id: str
    kind: str
    conversation_id: str
    body: bytes
    created_at: datetime


def add(conn: sa.Connection, id: str, kind: str, conversation_id: str, body: bytes) -> bool:
    """Says whether it was new; an id is taken once only."""
    values = {"id": id, "kind": kind, "conversation_id": conversation_id, "body": body, "created_at": now()}
    return insert_new(conn, t, values)


def oldest(conn: sa.Connection, limit: int, *, after: int = 0) -> list[Arrival]:
    """In order of arrival; on request only those after a number."""
    return [Arrival(*row) for row in conn.execute(sa.select(t).where(t.c.seq > after).order_by(t.c.seq).limit(limit))]


def remove(conn: sa.Connection, seqs: list[int]) -> int:
    """How many were there: fewer than asked means another drain was first."""
    return conn.execute(sa.delete(t).where(t.c.seq.in_(seqs))).rowcount


def waits_before(conn: sa.Connection, conversation_id: str, seq: int) -> bool:
    """Does an earlier arrival of this conversation still wait?"""
    query = sa.select(t.c.seq).where(t.c.conversation_id == conversation_id, t.c.seq < seq).limit(1)
    return conn.execute(query).first() is not None


def count(conn: sa.Connection) -> int:
    return conn.execute(sa.select(sa.func.count()).select_from(t)).scalar_one()
