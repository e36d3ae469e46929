"""Annotations as pulled (scrubbed) and the labels made of them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from shoptalk.domain import Label
from shoptalk.store import counters
from shoptalk.store.database import in_chunks, upsert
from shoptalk.store.schema import label_annotations as a
from shoptalk.store.schema import labels as t
from shoptalk.store.schema import samples

ANNOTATIONS: Final = "annotations"  # the totals' names in `counters`
LABELS: Final = "labels"  # before the verdict


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
    counters.add(conn, {ANNOTATIONS: known is None})
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
    gone = conn.execute(query).rowcount
    counters.add(conn, {ANNOTATIONS: -gone})
    return gone


def put(conn: sa.Connection, label: Label) -> None:
    """Store a sample's label in place of its former one."""
    former = _verdict(conn, label.sample_id)
    values = dataclasses.asdict(label)
    values.update(flags=list(label.flags))
    upsert(conn, t, values, ["sample_id"])
    _count(conn, former, label.verdict)


def drop(conn: sa.Connection, sample_id: str) -> None:
    """Delete a sample's label."""
    former = _verdict(conn, sample_id)
    conn.execute(sa.delete(t).where(t.c.sample_id == sample_id))
    _count(conn, former, None)


def _verdict(conn: sa.Connection, sample_id: str) -> str | None:
    return conn.execute(sa.select(t.c.verdict).where(t.c.sample_id == sample_id)).scalar()


def _count(conn: sa.Connection, former: str | None, verdict: str | None) -> None:
    if former != verdict:
        counters.add(conn, {f"{LABELS}:{name}": n for name, n in ((former, -1), (verdict, 1)) if name is not None})


def everything(conn: sa.Connection) -> list[Label]:
    """Return all labels, those that changed last at the end."""
    return [_label(row) for row in conn.execute(sa.select(t).order_by(t.c.updated_at, t.c.id))]


def there(conn: sa.Connection, label_ids: Sequence[str]) -> bool:
    """Return whether all of these labels are there."""
    for part in in_chunks(label_ids):
        if conn.execute(sa.select(sa.func.count()).where(t.c.id.in_(part))).scalar_one() != len(set(part)):
            return False
    return True


def count(conn: sa.Connection, round_id: str | None = None) -> int:
    """Return the number of labels, of one round's samples if a round is given."""
    if round_id is None:
        return sum(verdicts(conn).values())
    query = sa.select(sa.func.count()).select_from(t).join(samples, samples.c.id == t.c.sample_id)
    return conn.execute(query.where(samples.c.round_id == round_id)).scalar_one()


def count_answered(conn: sa.Connection, round_id: str) -> int:
    """Return how many of a round's samples somebody answered or skipped."""
    query = sa.select(sa.func.count(sa.distinct(a.c.sample_id))).join(samples, samples.c.id == a.c.sample_id)
    return conn.execute(query.where(samples.c.round_id == round_id)).scalar_one()


def count_annotations(conn: sa.Connection) -> int:
    return counters.total(conn, ANNOTATIONS)


def verdicts(conn: sa.Connection) -> dict[str, int]:
    """Return the number of labels by verdict."""
    return {verdict: round(n) for verdict, n in counters.totals(conn, LABELS).items()}


def _label(row: sa.Row[tuple[object, ...]]) -> Label:
    r = dict(row._mapping)
    return Label(**{**r, "flags": tuple(r["flags"])})


def erase(conn: sa.Connection, conversations: Sequence[str]) -> tuple[int, int]:
    """Delete the annotations and labels of conversations; return how many (annotations, labels).

    Call it before their samples are deleted: annotations are found through them.
    """
    mine = sa.select(samples.c.id).where(samples.c.conversation_id.in_(list(conversations)))
    annotations = conn.execute(sa.delete(a).where(a.c.sample_id.in_(mine))).rowcount
    gone = sa.delete(t).where(t.c.conversation_id.in_(list(conversations))).returning(t.c.verdict)
    verdicts = Counter(f"{LABELS}:{verdict}" for verdict in conn.execute(gone).scalars())
    counters.add(conn, {ANNOTATIONS: -annotations, **{name: -n for name, n in verdicts.items()}})
    return annotations, verdicts.total()
