"""Drift checks: each comparison of a current window with the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from shoptalk.store.database import in_chunks, insert_new
from shoptalk.store.ingest.conversations import Place
from shoptalk.store.schema import drift_checks as t


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftCheck:
    """One comparison of a current window with the reference."""

    id: str
    #: squared maximum mean discrepancy
    statistic: float
    p_value: float
    #: the reference in words
    against: str
    #: how many conversations it has
    reference: int
    #: how many the current window has
    current: int
    #: whether a person asked for it; else it is a look of the watcher, which looks at each conversation once
    asked: bool
    #: the place of the current window's last conversation; None for checks of older versions
    end: Place | None
    report_id: str | None
    created_at: datetime


def add(conn: sa.Connection, check: DriftCheck) -> bool:
    """Record a check; return whether it was new."""
    values = {name: getattr(check, name) for name in ("id", "statistic", "p_value", "against", "reference", "current")}
    end = {"end_at": check.end.at if check.end else None, "end_id": check.end.id if check.end else None}
    rest = {"asked": int(check.asked), "report_id": check.report_id, "created_at": check.created_at}
    return insert_new(conn, t, {**values, **end, **rest})


def last_look(conn: sa.Connection) -> DriftCheck | None:
    """Return the watcher's latest look."""
    row = conn.execute(sa.select(t).where(t.c.asked == 0).order_by(t.c.created_at.desc()).limit(1)).first()
    return _check(row) if row else None


def newest(conn: sa.Connection, limit: int = 50) -> list[DriftCheck]:
    """Return the latest, latest first."""
    query = sa.select(t).order_by(t.c.created_at.desc()).limit(limit)
    return [_check(row) for row in conn.execute(query)]


def forget(conn: sa.Connection, conversations: Sequence[str]) -> None:
    """Remove the ids of these conversations; looks that ended with one of them end with its moment."""
    for part in in_chunks(conversations):
        conn.execute(sa.update(t).where(t.c.end_id.in_(part)).values(end_id=None))


def _check(row: sa.Row[Any]) -> DriftCheck:
    values = dict(row._mapping)
    at, id = values.pop("end_at"), values.pop("end_id")
    return DriftCheck(**{**values, "asked": bool(values["asked"]), "end": Place(at, id) if at else None})
