"""Drift checks, reports and triggers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from shoptalk.domain import now
from shoptalk.store.database import insert_new
from shoptalk.store.schema import drift_checks, reports, triggers

OWNER: Final = "monitoring"


@dataclass(frozen=True, slots=True)
class DriftCheck:
    """One comparison of a current window with the reference. Sizes are conversations."""

    id: str
    statistic: float
    p_value: float
    reference: int
    current: int
    current_until: int
    report_id: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Report:
    """A stored HTML report."""

    id: str
    title: str
    artifact_sha256: str
    summary: Mapping[str, Any]
    created_at: datetime
    erased_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Trigger:
    """Why a round should start: `kind` is drift, labels, schedule or person."""

    id: str
    kind: str
    reason: str
    round_id: str | None
    created_at: datetime


def add_check(conn: sa.Connection, check: DriftCheck) -> bool:
    return insert_new(conn, drift_checks, dataclasses.asdict(check))


def checks(conn: sa.Connection, limit: int = 50) -> list[DriftCheck]:
    query = sa.select(drift_checks).order_by(drift_checks.c.created_at.desc()).limit(limit)
    return [DriftCheck(**row._mapping) for row in conn.execute(query)]


def add_report(conn: sa.Connection, report: Report) -> bool:
    return insert_new(conn, reports, dataclasses.asdict(report))


def find_report(conn: sa.Connection, report_id: str) -> Report | None:
    row = conn.execute(sa.select(reports).where(reports.c.id == report_id)).first()
    return Report(**row._mapping) if row else None


def all_reports(conn: sa.Connection, limit: int = 50) -> list[Report]:
    query = sa.select(reports).order_by(reports.c.created_at.desc()).limit(limit)
    return [Report(**row._mapping) for row in conn.execute(query)]


def add_trigger(conn: sa.Connection, trigger: Trigger) -> bool:
    return insert_new(conn, triggers, dataclasses.asdict(trigger))


def all_triggers(conn: sa.Connection, limit: int = 50) -> list[Trigger]:
    query = sa.select(triggers).order_by(triggers.c.created_at.desc()).limit(limit)
    return [Trigger(**row._mapping) for row in conn.execute(query)]


def reports_since(conn: sa.Connection, moment: datetime) -> list[Report]:
    """Made at or after this moment, with their page still there."""
    query = sa.select(reports).where(reports.c.created_at >= moment, reports.c.erased_at.is_(None))
    return [Report(**row._mapping) for row in conn.execute(query.order_by(reports.c.created_at))]


def erase_page(conn: sa.Connection, report_id: str) -> None:
    """Its page is gone; its figures stay."""
    conn.execute(sa.update(reports).where(reports.c.id == report_id).values(erased_at=now()))
