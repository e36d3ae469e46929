"""Inferences: which adapter gave each reply, and what it cost. Holds no text."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from shoptalk.domain import Inference
from shoptalk.store import counters
from shoptalk.store.schema import inferences as t
from shoptalk.store.schema import turns

REPLIES: Final = "replies"  # the totals' name in `counters`, before the adapter
_NAMES: Final = tuple(f.name for f in dataclasses.fields(Inference))


def add(conn: sa.Connection, inference: Inference) -> None:
    conn.execute(sa.insert(t), {name: getattr(inference, name) for name in _NAMES})


def find(conn: sa.Connection, inference_id: str) -> Inference | None:
    row = conn.execute(sa.select(t).where(t.c.id == inference_id)).first()
    return Inference(**row._mapping) if row else None


def many(conn: sa.Connection, ids: list[str]) -> dict[str, Inference]:
    rows = conn.execute(sa.select(t).where(t.c.id.in_(ids)))
    return {row.id: Inference(**row._mapping) for row in rows}


def by_adapter(conn: sa.Connection) -> dict[str, int]:
    """Return how many admitted replies each adapter gave."""
    return {adapter: round(n) for adapter, n in counters.totals(conn, REPLIES).items()}


def admitted(conn: sa.Connection, conversations: Sequence[str]) -> dict[str, int]:
    """Return how many admitted replies each adapter gave in these conversations."""
    query = sa.select(t.c.adapter, sa.func.count()).join(turns, turns.c.inference_id == t.c.id)
    rows = conn.execute(query.where(turns.c.conversation_id.in_(list(conversations))).group_by(t.c.adapter))
    return {adapter: n for adapter, n in rows}


def of_conversations(conn: sa.Connection, conversations: Sequence[str]) -> list[str]:
    """Return the ids of the conversations' inferences."""
    query = sa.select(t.c.id).where(t.c.conversation_id.in_(list(conversations))).order_by(t.c.id)
    return list(conn.execute(query).scalars())


def erase(conn: sa.Connection, conversations: Sequence[str]) -> int:
    return conn.execute(sa.delete(t).where(t.c.conversation_id.in_(list(conversations)))).rowcount
