"""Replies chosen for annotators, and where they are in Label Studio."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import sqlalchemy as sa

from shoptalk.domain import Sample, now
from shoptalk.store.database import insert_new, upsert
from shoptalk.store.tables import label_projects, turns
from shoptalk.store.tables import samples as t

OWNER: Final = "labeling"


def add(conn: sa.Connection, sample: Sample) -> bool:
    """Says whether it was new: a turn is sampled once."""
    return insert_new(
        conn, t,
        {"id": sample.id, "turn_id": sample.turn_id, "conversation_id": sample.conversation_id,
         "round_id": sample.round_id, "inclusion_probability": sample.inclusion_probability,
         "strategy": sample.strategy, "task_id": sample.task_id, "created_at": now()},
    )  # fmt: skip


def set_task(conn: sa.Connection, sample_id: str, task_id: int) -> None:
    conn.execute(sa.update(t).where(t.c.id == sample_id).values(task_id=task_id))


def find(conn: sa.Connection, sample_id: str) -> Sample | None:
    row = conn.execute(sa.select(t).where(t.c.id == sample_id)).first()
    return _sample(row) if row else None


def unpushed(conn: sa.Connection, limit: int) -> list[Sample]:
    query = sa.select(t).where(t.c.task_id.is_(None)).order_by(t.c.created_at, t.c.id).limit(limit)
    return [_sample(row) for row in conn.execute(query)]


def of_round(conn: sa.Connection, round_id: str) -> list[Sample]:
    return [_sample(row) for row in conn.execute(sa.select(t).where(t.c.round_id == round_id).order_by(t.c.id))]


def candidates(conn: sa.Connection, limit: int) -> list[tuple[str, str, str]]:
    """Replies never sampled, newest first: (turn id, conversation id, inference id)."""
    taken = sa.exists().where(t.c.turn_id == turns.c.id)
    query = (
        sa.select(turns.c.id, turns.c.conversation_id, turns.c.inference_id)
        .where(turns.c.role == "assistant", turns.c.inference_id.is_not(None), turns.c.text.is_not(None), ~taken)
        .order_by(turns.c.seq.desc(), turns.c.id)
        .limit(limit)
    )
    return [(r.id, r.conversation_id, r.inference_id) for r in conn.execute(query)]


def count(conn: sa.Connection, *, pushed: bool = False) -> int:
    query = sa.select(sa.func.count()).select_from(t)
    return conn.execute(query.where(t.c.task_id.is_not(None)) if pushed else query).scalar_one()


def project(conn: sa.Connection, name: str) -> tuple[int, datetime | None] | None:
    """A Label Studio project's id and how far its annotations were pulled."""
    row = conn.execute(sa.select(label_projects).where(label_projects.c.name == name)).first()
    return (row.project_id, row.cursor) if row else None


def set_project(conn: sa.Connection, name: str, project_id: int, cursor: datetime | None) -> None:
    upsert(conn, label_projects, {"name": name, "project_id": project_id, "cursor": cursor}, ["name"])


def _sample(row: sa.Row[tuple[object, ...]]) -> Sample:
    r = row._mapping
    return Sample(
        r["id"], r["turn_id"], r["conversation_id"], r["round_id"], r["inclusion_probability"], r["strategy"],
        r["task_id"],
    )  # fmt: skip
