"""Training runs: their configuration, progress and result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from shoptalk.domain import RunState
from shoptalk.store.database import insert_new, now
from shoptalk.store.schema import runs as t


@dataclass(frozen=True, slots=True)
class Run:
    """A training run. `step` of `steps` optimizer steps are done."""

    id: str
    dataset_id: str
    state: RunState
    config: Mapping[str, Any]
    step: int
    steps: int
    metrics: Mapping[str, Any]
    problem: str | None
    adapter: str | None
    created_at: datetime
    updated_at: datetime


def start(conn: sa.Connection, run_id: str, dataset_id: str, config: Mapping[str, Any], steps: int) -> None:
    """Record a new run, or set one that was interrupted back to its beginning."""
    values = {
        "id": run_id,
        "dataset_id": dataset_id,
        "state": "running",
        "config": dict(config),
        "step": 0,
        "steps": steps,
        "metrics": {},
        "created_at": now(conn),
        "updated_at": now(conn),
    }
    if not insert_new(conn, t, values):
        again = {"dataset_id": dataset_id, "state": "running", "step": 0, "problem": None, "updated_at": now(conn)}
        conn.execute(sa.update(t).where(t.c.id == run_id).values(**again))


def plan(conn: sa.Connection, run_id: str, steps: int) -> None:
    """Record how many steps a run takes."""
    conn.execute(sa.update(t).where(t.c.id == run_id).values(steps=steps, updated_at=now(conn)))


def progress(conn: sa.Connection, run_id: str, step: int, metrics: Mapping[str, Any]) -> None:
    """Record how many steps a run has done, and its metrics so far."""
    values = {"step": step, "metrics": dict(metrics), "updated_at": now(conn)}
    conn.execute(sa.update(t).where(t.c.id == run_id).values(**values))


def finish(conn: sa.Connection, run_id: str, *, adapter: str | None = None, problem: str | None = None) -> None:
    """Record that a run ended: as failed where there is a problem, else as done."""
    state: RunState = "failed" if problem else "done"
    values = {"state": state, "adapter": adapter, "problem": problem, "updated_at": now(conn)}
    conn.execute(sa.update(t).where(t.c.id == run_id).values(**values))


def find(conn: sa.Connection, run_id: str) -> Run | None:
    row = conn.execute(sa.select(t).where(t.c.id == run_id)).first()
    return Run(**row._mapping) if row else None


def newest(conn: sa.Connection, limit: int = 50) -> list[Run]:
    """Return the latest, latest first."""
    return [Run(**row._mapping) for row in conn.execute(sa.select(t).order_by(t.c.created_at.desc()).limit(limit))]


def of_datasets(conn: sa.Connection, dataset_ids: Sequence[str]) -> list[Run]:
    query = sa.select(t).where(t.c.dataset_id.in_(list(dataset_ids))).order_by(t.c.created_at)
    return [Run(**row._mapping) for row in conn.execute(query)]


def erase_problems(conn: sa.Connection, run_ids: Sequence[str]) -> None:
    """Overwrite the problems of these runs: the last lines of a trainer's output may quote what it read."""
    failed = sa.update(t).where(t.c.id.in_(list(run_ids)), t.c.problem.is_not(None))
    conn.execute(failed.values(problem="(erased)"))
