"""Admitted conversations: when each began to be admitted, and what traffic it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from shoptalk.store import counters
from shoptalk.store.database import count_up_to, insert_new, now
from shoptalk.store.schema import admitted_conversations as t

TOTAL: Final = "conversations"  # the total's name in `shoptalk.store.counters`
IMPORT: Final = "import"
EXACT: Final = "exact"  # asked for an exact adapter version
TEST: Final = "test"  # said to be a test


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the order of admission: after a conversation, or where there is no `id` after all of that moment."""

    at: datetime
    id: str | None


@dataclass(frozen=True, slots=True)
class Admitted:
    """A conversation, and when it began to be admitted."""

    id: str
    at: datetime

    @property
    def place(self) -> Place:
        return Place(self.at, self.id)


def customers_of(alias: str) -> str:
    """Return the traffic of customers who talk to an alias."""
    return f"alias {alias}"


def add(conn: sa.Connection, conversation_id: str, traffic: str) -> bool:
    """Record a conversation unless it is recorded; return whether it was new."""
    return insert_new(conn, t, {"conversation_id": conversation_id, "traffic": traffic, "admitted_at": now(conn)})


def count(conn: sa.Connection) -> int:
    """Return the number of admitted conversations."""
    return counters.total(conn, TOTAL)


def newest(conn: sa.Connection, traffic: str, limit: int, *, until: datetime | None = None) -> list[Admitted]:
    """Return the conversations that began to be admitted last, latest first; on request until a time."""
    query = sa.select(t.c.conversation_id, t.c.admitted_at).where(t.c.traffic == traffic)
    if until is not None:
        query = query.where(t.c.admitted_at <= until)
    query = query.order_by(t.c.admitted_at.desc(), t.c.conversation_id.desc()).limit(limit)
    return [Admitted(*row) for row in conn.execute(query)]


def oldest(conn: sa.Connection, traffic: str, limit: int, *, after: Place | None = None) -> list[Admitted]:
    """Return the conversations that began to be admitted first, oldest first; on request after a place."""
    query = _after(sa.select(t.c.conversation_id, t.c.admitted_at), traffic, after)
    query = query.order_by(t.c.admitted_at, t.c.conversation_id).limit(limit)
    return [Admitted(*row) for row in conn.execute(query)]


def count_after(conn: sa.Connection, traffic: str, after: Place | None, most: int) -> int:
    """Return how many conversations come after a place, at most `most`."""
    return count_up_to(conn, _after(sa.select(t.c.conversation_id), traffic, after), most)


def _after(query: sa.Select[Any], traffic: str, after: Place | None) -> sa.Select[Any]:
    query = query.where(t.c.traffic == traffic)
    if after is None:
        return query
    if after.id is None:
        return query.where(t.c.admitted_at > after.at)
    return query.where(
        t.c.admitted_at >= after.at,
        sa.or_(t.c.admitted_at > after.at, t.c.conversation_id > after.id),
    )


def erase(conn: sa.Connection, conversations: Sequence[str]) -> int:
    return conn.execute(sa.delete(t).where(t.c.conversation_id.in_(list(conversations)))).rowcount
