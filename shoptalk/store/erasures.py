"""Erasures: which customer or conversations they are about until they are done, the steps done, and tombstones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from shoptalk.domain import Erasure, ErasureState
from shoptalk.store.database import insert_new, now
from shoptalk.store.schema import erasure_steps, tombstones
from shoptalk.store.schema import erasures as t

OWNER: Final = "ingest"


def add(conn: sa.Connection, erasure: Erasure) -> None:
    conn.execute(sa.insert(t), {name: getattr(erasure, name) for name in Erasure.__slots__})


def find(conn: sa.Connection, erasure_id: str) -> Erasure | None:
    row = conn.execute(sa.select(t).where(t.c.id == erasure_id)).first()
    return Erasure(**row._mapping) if row else None


def running(conn: sa.Connection, customer: str | None = None) -> list[Erasure]:
    """Return erasures that are not done, oldest first; only a customer's where one is given."""
    query = sa.select(t).where(t.c.state == "running").order_by(t.c.created_at, t.c.id)
    rows = conn.execute(query.where(t.c.customer == customer) if customer else query)
    return [Erasure(**row._mapping) for row in rows]


def newest(conn: sa.Connection, limit: int = 50) -> list[Erasure]:
    return [Erasure(**row._mapping) for row in conn.execute(sa.select(t).order_by(t.c.created_at.desc()).limit(limit))]


def last_change(conn: sa.Connection) -> datetime | None:
    """Return when any erasure last progressed. What is kept in memory from before then may hold erased content."""
    return conn.execute(sa.select(sa.func.max(t.c.updated_at))).scalar()


def fail(conn: sa.Connection, erasure_id: str, problem: str) -> None:
    """Record why an erasure could not go on now; it is tried again later."""
    conn.execute(sa.update(t).where(t.c.id == erasure_id).values(problem=problem))


def finish(conn: sa.Connection, erasure_id: str, state: ErasureState, receipt: Mapping[str, Any]) -> None:
    """Store the receipt and delete which customer and conversations the erasure was about."""
    conn.execute(
        sa.update(t)
        .where(t.c.id == erasure_id)
        .values(
            state=state, receipt=dict(receipt), customer=None, conversations=sa.null(), inferences=sa.null(),
            since=None, problem=None, updated_at=now(conn),
        )
    )  # fmt: skip


def step_done(conn: sa.Connection, erasure_id: str, step: str, counts: Mapping[str, Any]) -> None:
    """Record that a step is done, and what it counted; a second call changes nothing."""
    values = {"erasure_id": erasure_id, "step": step, "counts": dict(counts), "created_at": now(conn)}
    insert_new(conn, erasure_steps, values)
    conn.execute(sa.update(t).where(t.c.id == erasure_id).values(updated_at=now(conn)))


def steps(conn: sa.Connection, erasure_id: str) -> dict[str, dict[str, Any]]:
    """Return the counts of each step that is done, by step."""
    query = (
        sa.select(erasure_steps).where(erasure_steps.c.erasure_id == erasure_id).order_by(erasure_steps.c.created_at)
    )
    return {row.step: row.counts for row in conn.execute(query)}


def bury(conn: sa.Connection, erasure_id: str, ids: Iterable[str]) -> None:
    """Store tombstones; what has one of them is not stored again."""
    for id in ids:
        insert_new(conn, tombstones, {"id": id, "erasure_id": erasure_id, "created_at": now(conn)})


def buried(conn: sa.Connection, ids: Sequence[str]) -> bool:
    """Return whether any of these tombstones is stored."""
    query = sa.select(tombstones.c.id).where(tombstones.c.id.in_(list(ids))).limit(1)
    return conn.execute(query).first() is not None
