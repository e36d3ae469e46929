"""Drift checks: each comparison of a current window with the reference."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from shoptalk.store.database import insert_new
from shoptalk.store.schema import drift_checks as t


@dataclass(frozen=True, slots=True)
class DriftCheck:
    """One comparison of a current window with the reference. `reference` and `current` are sizes, in conversations."""

    id: str
    statistic: float
    p_value: float
    reference: int
    current: int
    current_until: int
    report_id: str | None
    created_at: datetime


def add(conn: sa.Connection, check: DriftCheck) -> bool:
    """Record a check; return whether it was new."""
    return insert_new(conn, t, dataclasses.asdict(check))


def newest(conn: sa.Connection, limit: int = 50) -> list[DriftCheck]:
    """Return the latest, latest first."""
    query = sa.select(t).order_by(t.c.created_at.desc()).limit(limit)
    return [DriftCheck(**row._mapping) for row in conn.execute(query)]
