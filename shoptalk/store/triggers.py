"""Triggers: why a round should start, and the round that each started or joined."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from shoptalk.domain import TriggerKind
from shoptalk.store.database import insert_new
from shoptalk.store.rounds import UNFINISHED
from shoptalk.store.schema import rounds
from shoptalk.store.schema import triggers as t

OWNER: Final = "shoptalk"  # by `shoptalk.rounds`


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


def waiting(conn: sa.Connection, kind: TriggerKind) -> Trigger | None:
    """Return the trigger of a kind that no round was started for."""
    row = conn.execute(sa.select(t).where(t.c.round_id.is_(None), t.c.kind == kind).limit(1)).first()
    return Trigger(**row._mapping) if row else None


def was_asked(conn: sa.Connection, kind: TriggerKind, reason: str) -> bool:
    """Return whether there was ever a trigger of this kind for this reason."""
    return conn.execute(sa.select(t.c.id).where(t.c.kind == kind, t.c.reason == reason).limit(1)).first() is not None


def of_round(conn: sa.Connection, round_id: str) -> list[Trigger]:
    """Return the triggers that a round was started for or that joined it, oldest first."""
    query = sa.select(t).where(t.c.round_id == round_id).order_by(t.c.created_at, t.c.id)
    return [Trigger(**row._mapping) for row in conn.execute(query)]


def is_open(conn: sa.Connection, kind: TriggerKind) -> bool:
    """Return whether a trigger of a kind waits for a round, or its round is not finished."""
    under_way = sa.select(t.c.id).join(rounds, rounds.c.id == t.c.round_id)
    mine = under_way.where(rounds.c.state.in_(UNFINISHED), t.c.kind == kind)
    return waiting(conn, kind) is not None or conn.execute(mine.limit(1)).first() is not None
