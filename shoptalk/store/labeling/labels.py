"""Annotations as pulled (scrubbed) and the labels made of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from shoptalk.domain import Label
from shoptalk.store.database import upsert
from shoptalk.store.schema import label_annotations as a
from shoptalk.store.schema import labels as t
from shoptalk.store.schema import samples


@dataclass(frozen=True, slots=True)
class Annotation:
    """One annotator's answer to one task. `result` maps control names to values, texts scrubbed."""

    id: int
    sample_id: str
    annotator: int | None
    skipped: bool
    result: dict[str, Any]
    lead_time_s: float | None
    updated_at: datetime


def put_annotation(conn: sa.Connection, item: Annotation) -> bool:
    """Store the newest state of an annotation; return whether this one is newer than what was stored."""
    known = conn.execute(sa.select(a.c.updated_at).where(a.c.id == item.id)).scalar()
    if known is not None and known >= item.updated_at:
        return False
    upsert(conn, a, {**dataclasses.asdict(item), "skipped": int(item.skipped)}, ["id"])
    return True


def annotations_of(conn: sa.Connection, sample_id: str) -> list[Annotation]:
    """Return all annotations of a sample, by id."""
    query = sa.select(a).where(a.c.sample_id == sample_id).order_by(a.c.id)
    return [
        Annotation(r.id, r.sample_id, r.annotator, bool(r.skipped), r.result, r.lead_time_s, r.updated_at)
        for r in conn.execute(query)
    ]


def keep_annotations(conn: sa.Connection, sample_id: str, ids: Sequence[int]) -> int:
    """Delete the sample's annotations that are not among `ids`: they were withdrawn. Return how many."""
    query = sa.delete(a).where(a.c.sample_id == sample_id, a.c.id.not_in(list(ids)))
    return conn.execute(query).rowcount


def put(conn: sa.Connection, label: Label) -> None:
    """Store a sample's label in place of its former one."""
    values = dataclasses.asdict(label)
    values.update(flags=list(label.flags))
    upsert(conn, t, values, ["sample_id"])


def drop(conn: sa.Connection, sample_id: str) -> None:
    conn.execute(sa.delete(t).where(t.c.sample_id == sample_id))


def everything(conn: sa.Connection) -> list[Label]:
    return [_label(row) for row in conn.execute(sa.select(t).order_by(t.c.id))]


def count(conn: sa.Connection, round_id: str | None = None) -> int:
    """Return the number of labels, of one round's samples if a round is given."""
    query = sa.select(sa.func.count()).select_from(t)
    if round_id is not None:
        query = query.join(samples, samples.c.id == t.c.sample_id).where(samples.c.round_id == round_id)
    return conn.execute(query).scalar_one()


def count_answered(conn: sa.Connection, round_id: str) -> int:
    """Return how many of a round's samples somebody answered or skipped."""
    query = sa.select(sa.func.count(sa.distinct(a.c.sample_id))).join(samples, samples.c.id == a.c.sample_id)
    return conn.execute(query.where(samples.c.round_id == round_id)).scalar_one()


def count_annotations(conn: sa.Connection) -> int:
    return conn.execute(sa.select(sa.func.count()).select_from(a)).scalar_one()


def verdicts(conn: sa.Connection) -> dict[str, int]:
    """Return the number of labels by verdict."""
    return {v: n for v, n in conn.execute(sa.select(t.c.verdict, sa.func.count()).group_by(t.c.verdict))}


def _label(row: sa.Row[tuple[object, ...]]) -> Label:
    r = dict(row._mapping)
    return Label(**{**r, "flags": tuple(r["flags"])})


def erase(conn: sa.Connection, conversations: Sequence[str]) -> tuple[int, int]:
    """Delete the annotations and labels of conversations; return how many (annotations, labels).

    Call it before their samples are deleted: annotations are found through them.
    """
    mine = sa.select(samples.c.id).where(samples.c.conversation_id.in_(list(conversations)))
    annotations = conn.execute(sa.delete(a).where(a.c.sample_id.in_(mine))).rowcount
    return annotations, conn.execute(sa.delete(t).where(t.c.conversation_id.in_(list(conversations)))).rowcount


def erase_stray(conn: sa.Connection) -> int:
    """Delete annotations whose sample is gone, pulled while it was erased; return how many."""
    return conn.execute(sa.delete(a).where(a.c.sample_id.not_in(sa.select(samples.c.id)))).rowcount
