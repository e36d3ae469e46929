"""Admitted feedback; comments have been scrubbed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import sqlalchemy as sa

from shoptalk.domain import Feedback
from shoptalk.store.database import in_chunks, insert_new
from shoptalk.store.schema import feedback as t


def add(conn: sa.Connection, item: Feedback) -> bool:
    """Store feedback; return whether it was new."""
    return insert_new(conn, t, dataclasses.asdict(item))


def of_inferences(conn: sa.Connection, ids: list[str]) -> dict[str, list[Feedback]]:
    found: dict[str, list[Feedback]] = {}
    for part in in_chunks(ids):
        query = sa.select(t).where(t.c.inference_id.in_(part)).order_by(t.c.created_at)
        for row in conn.execute(query):
            found.setdefault(row.inference_id, []).append(Feedback(**row._mapping))
    return found


def totals(conn: sa.Connection) -> dict[str, tuple[int, float]]:
    """Return each metric's (count, mean). Of several votes on one reply the latest counts."""
    later = t.alias()
    newer = sa.exists().where(
        later.c.inference_id == t.c.inference_id,
        later.c.metric == t.c.metric,
        sa.tuple_(later.c.created_at, later.c.id) > sa.tuple_(t.c.created_at, t.c.id),
    )
    rows = conn.execute(
        sa.select(t.c.metric, sa.func.count(), sa.func.avg(t.c.value)).where(~newer).group_by(t.c.metric)
    )
    return {metric: (n, float(mean)) for metric, n, mean in rows}


def count(conn: sa.Connection) -> int:
    return conn.execute(sa.select(sa.func.count()).select_from(t)).scalar_one()


def erase(conn: sa.Connection, conversations: Sequence[str]) -> int:
    return conn.execute(sa.delete(t).where(t.c.conversation_id.in_(list(conversations)))).rowcount
