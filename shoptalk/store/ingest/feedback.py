"""Admitted feedback; comments have been scrubbed."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from shoptalk.domain import Feedback
from shoptalk.store import counters
from shoptalk.store.database import in_chunks, insert_new
from shoptalk.store.schema import feedback as t

VOTES: Final = "votes"  # the totals' names in `counters`, before the metric
SUM: Final = "sum of votes"


def add(conn: sa.Connection, item: Feedback) -> dict[str, float] | None:
    """Store feedback; return by how much totals change, None where it was stored before.

    Of several votes on one reply the latest counts.
    """
    rival = _latest(conn, item.inference_id, item.metric)
    if not insert_new(conn, t, dataclasses.asdict(item)):
        return None
    if rival is None:
        return {f"{VOTES}:{item.metric}": 1, f"{SUM}:{item.metric}": item.value}
    later = (item.created_at, item.id) > (rival.created_at, rival.id)
    return {f"{SUM}:{item.metric}": item.value - rival.value} if later else {}


def _latest(conn: sa.Connection, inference_id: str | None, metric: str) -> sa.Row[Any] | None:
    """Return the latest vote on a reply; None for feedback on a whole conversation, each of which counts."""
    if inference_id is None:
        return None
    query = sa.select(t).where(t.c.inference_id == inference_id, t.c.metric == metric)
    return conn.execute(query.order_by(t.c.created_at.desc(), t.c.id.desc()).limit(1)).first()


def of_inferences(conn: sa.Connection, ids: list[str]) -> dict[str, list[Feedback]]:
    found: dict[str, list[Feedback]] = {}
    for part in in_chunks(ids):
        query = sa.select(t).where(t.c.inference_id.in_(part)).order_by(t.c.created_at)
        for row in conn.execute(query):
            found.setdefault(row.inference_id, []).append(Feedback(**row._mapping))
    return found


def totals(conn: sa.Connection) -> dict[str, tuple[int, float]]:
    """Return each metric's (count, mean). Of several votes on one reply the latest counts."""
    votes, sums = counters.totals(conn, VOTES), counters.totals(conn, SUM)
    return {metric: (round(n), sums.get(metric, 0.0) / n) for metric, n in votes.items()}


def erase(conn: sa.Connection, conversations: Sequence[str]) -> tuple[int, dict[str, float]]:
    """Delete the feedback on conversations; return how much there was, and by how much totals change."""
    mine = t.c.conversation_id.in_(list(conversations))
    counted: dict[tuple[str, str], sa.Row[Any]] = {}
    rows = conn.execute(sa.select(t).where(mine).order_by(t.c.created_at, t.c.id)).all()
    for row in rows:
        counted[row.inference_id or row.id, row.metric] = row
    changes: defaultdict[str, float] = defaultdict(float)
    for row in counted.values():
        changes[f"{VOTES}:{row.metric}"] -= 1
        changes[f"{SUM}:{row.metric}"] -= row.value
    conn.execute(sa.delete(t).where(mine))
    return len(rows), dict(changes)
