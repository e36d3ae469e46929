"""Frozen datasets, which labels went where, and the sealed split of groups."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from shoptalk.domain import now
from shoptalk.store.database import insert_new
from shoptalk.store.tables import dataset_examples, holdout_groups
from shoptalk.store.tables import datasets as t

OWNER: Final = "training"


@dataclass(frozen=True, slots=True)
class Dataset:
    """An immutable dataset; `id` is derived from its content, `manifest_sha256` names its file."""

    id: str
    manifest_sha256: str
    train: int
    holdout: int
    round_id: str | None
    created_at: datetime


def add(conn: sa.Connection, dataset: Dataset, members: Iterable[tuple[str, str, str]]) -> bool:
    """`members` are (label id, split, conversation id). Says whether the dataset was new."""
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
    return [Dataset(**row._mapping) for row in conn.execute(sa.select(t).order_by(t.c.created_at.desc()).limit(limit))]


def conversations_of(conn: sa.Connection, dataset_id: str) -> list[str]:
    query = sa.select(dataset_examples.c.conversation_id).where(dataset_examples.c.dataset_id == dataset_id)
    return sorted(set(conn.execute(query).scalars()))


def splits(conn: sa.Connection) -> dict[str, str]:
    """Every group's split, as sealed."""
    return {g: s for g, s in conn.execute(sa.select(holdout_groups.c.group, holdout_groups.c.split))}


def seal(conn: sa.Connection, group: str, split: str) -> None:
    """Fix a group's split for ever; a second call changes nothing."""
    insert_new(conn, holdout_groups, {"group": group, "split": split, "created_at": now()})
