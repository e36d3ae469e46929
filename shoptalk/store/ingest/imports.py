"""Imports: batches with their reports, and the version of each imported conversation that is known."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from shoptalk.domain import BatchState
from shoptalk.store.database import in_chunks, insert_new, now, upsert
from shoptalk.store.schema import import_batches as t
from shoptalk.store.schema import imported


@dataclass(frozen=True, slots=True)
class Batch:
    """The conversations of one import. While it is `open` it is being read; `reasons` say why it is held."""

    id: str
    source: str
    name: str
    state: BatchState
    reasons: Sequence[str]
    report: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Known:
    """An imported conversation as it was last read: a digest of all that was said, and its turns."""

    conversation_id: str
    digest: str
    scrubber: str
    version: int
    turn_ids: Sequence[str]


def open_batch(conn: sa.Connection, batch: Batch) -> None:
    insert_new(conn, t, dataclasses.asdict(batch))


def find(conn: sa.Connection, batch_id: str) -> Batch | None:
    row = conn.execute(sa.select(t).where(t.c.id == batch_id)).first()
    return Batch(**row._mapping) if row else None


def still_open(conn: sa.Connection, source: str) -> Batch | None:
    """Return the batch of an interrupted import of the same source."""
    query = sa.select(t).where(t.c.source == source, t.c.state == "open").order_by(t.c.created_at).limit(1)
    row = conn.execute(query).first()
    return Batch(**row._mapping) if row else None


def newest(conn: sa.Connection, limit: int = 50, state: BatchState | None = None) -> list[Batch]:
    query = sa.select(t).order_by(t.c.created_at.desc(), t.c.id).limit(limit)
    return [Batch(**row._mapping) for row in conn.execute(query.where(t.c.state == state) if state else query)]


def report(conn: sa.Connection, batch_id: str, metrics: Mapping[str, Any]) -> None:
    """Store a batch's report."""
    conn.execute(sa.update(t).where(t.c.id == batch_id).values(report=dict(metrics), updated_at=now(conn)))


def settle(conn: sa.Connection, batch_id: str, state: BatchState, reasons: Sequence[str]) -> None:
    conn.execute(
        sa.update(t).where(t.c.id == batch_id).values(state=state, reasons=list(reasons), updated_at=now(conn))
    )


def known(conn: sa.Connection, conversations: Sequence[str]) -> dict[str, Known]:
    found: dict[str, Known] = {}
    for part in in_chunks(conversations):
        query = sa.select(imported).where(imported.c.conversation_id.in_(part))
        for r in conn.execute(query):
            found[r.conversation_id] = Known(r.conversation_id, r.digest, r.scrubber, r.version, r.turn_ids)
    return found


def remember(conn: sa.Connection, item: Known) -> None:
    values = {**dataclasses.asdict(item), "turn_ids": list(item.turn_ids), "updated_at": now(conn)}
    upsert(conn, imported, values, ["conversation_id"])


def forget(conn: sa.Connection, conversations: Sequence[str]) -> None:
    """Delete what is known of these conversations, so that they can be imported again."""
    conn.execute(sa.delete(imported).where(imported.c.conversation_id.in_(list(conversations))))
