"""Reports: each stored HTML page's hash and what it found."""

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
    """A stored HTML report."""

    id: str
    title: str
    artifact_sha256: str
    summary: Mapping[str, Any]
    created_at: datetime
    erased_at: datetime | None = None


def add(conn: sa.Connection, report: Report) -> bool:
    return insert_new(conn, t, dataclasses.asdict(report))


def find(conn: sa.Connection, report_id: str) -> Report | None:
    row = conn.execute(sa.select(t).where(t.c.id == report_id)).first()
    return Report(**row._mapping) if row else None


def newest(conn: sa.Connection, limit: int = 50) -> list[Report]:
    query = sa.select(t).order_by(t.c.created_at.desc()).limit(limit)
    return [Report(**row._mapping) for row in conn.execute(query)]


def since(conn: sa.Connection, moment: datetime) -> list[Report]:
    """Made at or after this moment, with their page still there."""
    query = sa.select(t).where(t.c.created_at >= moment, t.c.erased_at.is_(None))
    return [Report(**row._mapping) for row in conn.execute(query.order_by(t.c.created_at))]


def erase_page(conn: sa.Connection, report_id: str) -> None:
    """Its page is gone; its figures stay."""
    conn.execute(sa.update(t).where(t.c.id == report_id).values(erased_at=now(conn)))
