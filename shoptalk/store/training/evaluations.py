"""Evaluations with the gate's verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from shoptalk.domain import Verdict
from shoptalk.store.database import insert_new
from shoptalk.store.schema import evaluations as t


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A candidate judged against the adapter that was live. `evidence` is everything that the gate saw."""

    id: str
    adapter: str
    against: str
    dataset_id: str
    evidence: Mapping[str, Any]
    verdict: Verdict
    reasons: tuple[str, ...]
    created_at: datetime


def add(conn: sa.Connection, item: Evaluation) -> bool:
    """Record an evaluation; return whether it was new."""
    return insert_new(
        conn,
        t,
        {
            "id": item.id,
            "adapter": item.adapter,
            "against": item.against,
            "dataset_id": item.dataset_id,
            "evidence": dict(item.evidence),
            "verdict": item.verdict.value,
            "reasons": list(item.reasons),
            "created_at": item.created_at,
        },
    )


def find(conn: sa.Connection, evaluation_id: str) -> Evaluation | None:
    row = conn.execute(sa.select(t).where(t.c.id == evaluation_id)).first()
    return _evaluation(row) if row else None


def newest_of(conn: sa.Connection, adapter: str) -> Evaluation | None:
    """Return the latest evaluation of an adapter."""
    row = conn.execute(sa.select(t).where(t.c.adapter == adapter).order_by(t.c.created_at.desc())).first()
    return _evaluation(row) if row else None


def newest(conn: sa.Connection, limit: int = 50) -> list[Evaluation]:
    """Return the latest, latest first."""
    return [_evaluation(row) for row in conn.execute(sa.select(t).order_by(t.c.created_at.desc()).limit(limit))]


def _evaluation(row: sa.Row[tuple[object, ...]]) -> Evaluation:
    r = dict(row._mapping)
    r.update(verdict=Verdict(r["verdict"]), reasons=tuple(r["reasons"]))
    return Evaluation(**r)
