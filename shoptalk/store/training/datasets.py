"""Frozen datasets, which labels went where, and the fixed split of groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from shoptalk.store.database import in_chunks, insert_new, now
from shoptalk.store.schema import dataset_examples, holdout_groups
from shoptalk.store.schema import datasets as t


@dataclass(frozen=True, slots=True)
class Dataset:
    """An immutable dataset. `id` is derived from its content; `manifest_sha256` is the hash of its file."""

    id: str
    manifest_sha256: str
    train: int
    holdout: int
    round_id: str | None
    created_at: datetime
    replaced_by: str | None = None
    erasure_id: str | None = None


def add(conn: sa.Connection, dataset: Dataset, members: Iterable[tuple[str, str, str]]) -> bool:
    """Record a dataset with its `members`: (label id, split, conversation id). Return whether it was new."""
    values = {
        "id": dataset.id,
        "manifest_sha256": dataset.manifest_sha256,
        "train": dataset.train,
        "holdout": dataset.holdout,
        "round_id": dataset.round_id,
        "created_at": dataset.created_at,
    }
    if not insert_new(conn, t, values):
        return False
    rows = [
        {"dataset_id": dataset.id, "label_id": label, "split": split, "conversation_id": conversation}
        for label, split, conversation in members
    ]
    if rows:
        conn.execute(sa.insert(dataset_examples), rows)
    return True


def find(conn: sa.Connection, dataset_id: str) -> Dataset | None:
    row = conn.execute(sa.select(t).where(t.c.id == dataset_id)).first()
    return Dataset(**row._mapping) if row else None


def newest(conn: sa.Connection, limit: int = 50) -> list[Dataset]:
    """Return the latest, latest first, without those that were replaced."""
    query = sa.select(t).where(t.c.replaced_by.is_(None)).order_by(t.c.created_at.desc()).limit(limit)
    return [Dataset(**row._mapping) for row in conn.execute(query)]


def conversations_of(conn: sa.Connection, dataset_id: str) -> list[str]:
    """Return the ids of its conversations, sorted."""
    query = sa.select(dataset_examples.c.conversation_id).where(dataset_examples.c.dataset_id == dataset_id)
    return sorted(set(conn.execute(query).scalars()))


def splits(conn: sa.Connection) -> dict[str, str]:
    """Return every group's fixed split."""
    return {g: s for g, s in conn.execute(sa.select(holdout_groups.c.group, holdout_groups.c.split))}


def fixed_otherwise(conn: sa.Connection, split: Mapping[str, str]) -> bool:
    """Return whether any of these groups is fixed to another split than here."""
    for part in in_chunks(sorted(split)):
        query = sa.select(holdout_groups.c.group, holdout_groups.c.split).where(holdout_groups.c.group.in_(part))
        if any(split[row.group] != row.split for row in conn.execute(query)):
            return True
    return False


def assign(conn: sa.Connection, split: Mapping[str, str]) -> None:
    """Fix groups' splits for good; those that are fixed stay."""
    for group, part in split.items():
        insert_new(conn, holdout_groups, {"group": group, "split": part, "created_at": now(conn)})


def current(conn: sa.Connection, dataset_id: str) -> Dataset | None:
    """Return the dataset, or the one that replaced it after erasures."""
    found = find(conn, dataset_id)
    while found is not None and found.replaced_by:
        found = find(conn, found.replaced_by)
    return found


def holding(conn: sa.Connection, conversations: Sequence[str]) -> list[Dataset]:
    """Return the datasets, of those not replaced, that hold any of these conversations."""
    mine = sa.select(dataset_examples.c.dataset_id).where(dataset_examples.c.conversation_id.in_(list(conversations)))
    query = sa.select(t).where(t.c.id.in_(mine), t.c.replaced_by.is_(None)).order_by(t.c.created_at)
    return [Dataset(**row._mapping) for row in conn.execute(query)]


def training_on(conn: sa.Connection, conversations: Sequence[str]) -> list[str]:
    """Return the ids of datasets, of those not replaced, with a training example of any of these conversations."""
    mine = sa.select(dataset_examples.c.dataset_id).where(
        dataset_examples.c.conversation_id.in_(list(conversations)), dataset_examples.c.split == "train"
    )
    return sorted(set(conn.execute(sa.select(t.c.id).where(t.c.id.in_(mine), t.c.replaced_by.is_(None))).scalars()))


def with_former(conn: sa.Connection, dataset_ids: Sequence[str]) -> list[str]:
    """Return these ids and those of all datasets they replaced, whose files held the same examples."""
    found = set(dataset_ids)
    while True:
        query = sa.select(t.c.id).where(t.c.replaced_by.in_(sorted(found)), t.c.id.not_in(sorted(found)))
        former = set(conn.execute(query).scalars())
        if not former:
            return sorted(found)
        found |= former


def of_erasure(conn: sa.Connection, erasure_id: str) -> list[Dataset]:
    """Return the datasets that this erasure replaced."""
    query = sa.select(t).where(t.c.erasure_id == erasure_id).order_by(t.c.created_at)
    return [Dataset(**row._mapping) for row in conn.execute(query)]


def members(conn: sa.Connection, dataset_id: str) -> list[tuple[str, str, str]]:
    """Return (label id, split, conversation id) of each example."""
    query = sa.select(dataset_examples).where(dataset_examples.c.dataset_id == dataset_id)
    return [(row.label_id, row.split, row.conversation_id) for row in conn.execute(query)]


def replace(conn: sa.Connection, dataset_id: str, by: str, erasure_id: str) -> None:
    """Mark a dataset as replaced. Its row stays, for what refers to it; the list of its examples does not."""
    conn.execute(sa.update(t).where(t.c.id == dataset_id).values(replaced_by=by, erasure_id=erasure_id))
    conn.execute(sa.delete(dataset_examples).where(dataset_examples.c.dataset_id == dataset_id))


def in_use(conn: sa.Connection, manifest_sha256: str) -> bool:
    """Return whether a dataset that was not replaced has this file."""
    query = sa.select(t.c.id).where(t.c.manifest_sha256 == manifest_sha256, t.c.replaced_by.is_(None)).limit(1)
    return conn.execute(query).first() is not None


def forget_splits(conn: sa.Connection, groups: Iterable[str]) -> int:
    """Delete the split of groups of which no example is left; return how many there were."""
    return conn.execute(sa.delete(holdout_groups).where(holdout_groups.c.group.in_(list(groups)))).rowcount
