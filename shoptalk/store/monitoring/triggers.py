"""Triggers: why a round should start."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from shoptalk.store.database import insert_new
from shoptalk.store.schema import triggers as t


@dataclass(frozen=True, slots=True)
class Trigger:
    """Why a round should start: `kind` is drift, labels, schedule or person."""

    id: str
    kind: str
    reason: str
    round_id: str | None
    created_at: datetime


def add(conn: sa.Connection, trigger: Trigger) -> bool:
    return insert_new(conn, t, dataclasses.asdict(trigger))


def newest(conn: sa.Connection, limit: int = 50) -> list[Trigger]:
    query = sa.select(t).order_by(t.c.created_at.desc()).limit(limit)
    return [Trigger(**row._mapping) for row in conn.execute(query)]
