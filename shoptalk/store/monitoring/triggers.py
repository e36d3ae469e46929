"""Triggers: why a round should start."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from shoptalk.domain import TriggerKind
from shoptalk.store.database import insert_new
from shoptalk.store.schema import triggers as t


@dataclass(frozen=True, slots=True)
class Trigger:
    """Why a round should start. `round_id` is the round that it started or joined."""

    id: str
    kind: TriggerKind
    reason: str
    round_id: str | None
    created_at: datetime


def add(conn: sa.Connection, trigger: Trigger) -> bool:
    """Record a trigger; return whether it was new."""
    return insert_new(conn, t, dataclasses.asdict(trigger))


def newest(conn: sa.Connection, limit: int = 50) -> list[Trigger]:
    """Return the latest, latest first."""
    query = sa.select(t).order_by(t.c.created_at.desc()).limit(limit)
    return [Trigger(**row._mapping) for row in conn.execute(query)]
