"""Reports: the hash of each stored HTML page, and its metrics."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from shoptalk.store.database import insert_new, now
from shoptalk.store.schema import reports as t


@dataclass(frozen=True, slots=True)
class Report:
    """A stored HTML report. `summary` holds its metrics by name; `erased_at` is when its page was deleted."""

    id: str
    title: str
    artifact_sha256: str
    summary: Mapping[str, Any]
    created_at: datetime
    erased_at: datetime | None = None


def add(conn: sa.Connection, report: Report) -> bool:
    """Record a report; return whether it was new."""
    return insert_new(conn, t, dataclasses.asdict(report))


def find(conn: sa.Connection, report_id: str) -> Report | None:
    row = conn.execute(sa.select(t).where(t.c.id == report_id)).first()
    return Report(**row._mapping) if row else None


def newest(conn: sa.Connection, limit: int = 50) -> list[Report]:
    """Return the latest, latest first."""
    query = sa.select(t).order_by(t.c.created_at.desc()).limit(limit)
    return [Report(**row._mapping) for row in conn.execute(query)]


def since(conn: sa.Connection, moment: datetime) -> list[Report]:
    """Return the reports made at or after this moment whose page is still there, oldest first."""
    query = sa.select(t).where(t.c.created_at >= moment, t.c.erased_at.is_(None))
    return [Report(**row._mapping) for row in conn.execute(query.order_by(t.c.created_at))]


def before(conn: sa.Connection, moment: datetime, limit: int) -> list[Report]:
    """Return reports made before a moment whose page is still there, oldest first."""
    query = sa.select(t).where(t.c.created_at < moment, t.c.erased_at.is_(None)).order_by(t.c.created_at)
    return [Report(**row._mapping) for row in conn.execute(query.limit(limit))]


def shown_by_another(conn: sa.Connection, report: Report) -> bool:
    """Return whether another report still shows the same page."""
    same = t.c.artifact_sha256 == report.artifact_sha256, t.c.erased_at.is_(None), t.c.id != report.id
    return conn.execute(sa.select(t.c.id).where(*same).limit(1)).first() is not None


def erase_page(conn: sa.Connection, report_id: str) -> None:
    """Record that a report's page was deleted; its metrics stay."""
    conn.execute(sa.update(t).where(t.c.id == report_id).values(erased_at=now(conn)))
