"""Topic models (centroids of embeddings), and the topic of each turn under the newest model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVarTuple

import sqlalchemy as sa

from shoptalk.store.database import in_chunks, upsert
from shoptalk.store.schema import topic_models, turn_features, turn_topics, turns

Columns = TypeVarTuple("Columns")


@dataclass(frozen=True, slots=True)
class TopicModel:
    """A topic model made of `turns` turns. `centroids` is little-endian float32 of shape [topics, dimensions]."""

    id: str
    version: str
    topics: int
    turns: int
    centroids: bytes
    created_at: datetime


def add_model(conn: sa.Connection, model: TopicModel) -> None:
    conn.execute(
        sa.insert(topic_models),
        {"id": model.id, "version": model.version, "topics": model.topics, "turns": model.turns,
         "centroids": model.centroids, "created_at": model.created_at},
    )  # fmt: skip


def newest_model(conn: sa.Connection, version: str) -> TopicModel | None:
    """Return the newest model made from this version of the features."""
    query = sa.select(topic_models).where(topic_models.c.version == version)
    row = conn.execute(query.order_by(topic_models.c.created_at.desc()).limit(1)).first()
    return TopicModel(**row._mapping) if row else None


def count_embedded(conn: sa.Connection, version: str) -> int:
    """Return the number of customers' messages with an embedding."""
    query = _embedded(sa.select(sa.func.count()), version)
    return conn.execute(query).scalar_one()


def newest_embeddings(conn: sa.Connection, version: str, limit: int) -> list[bytes]:
    """Return the embeddings of customers' newest messages."""
    query = _embedded(sa.select(turn_features.c.embedding), version).order_by(turns.c.seq.desc(), turns.c.id)
    return list(conn.execute(query.limit(limit)).scalars())


def without_topic(conn: sa.Connection, version: str, model_id: str, limit: int) -> list[tuple[str, bytes]]:
    """Return (turn, embedding) of customers' messages that have no topic under this model."""
    has = sa.exists().where(turn_topics.c.turn_id == turns.c.id, turn_topics.c.model_id == model_id)
    query = _embedded(sa.select(turns.c.id, turn_features.c.embedding), version).where(~has).limit(limit)
    return [(row.id, row.embedding) for row in conn.execute(query)]


def assign(conn: sa.Connection, model_id: str, found: Mapping[str, int]) -> None:
    """Store the topics of turns; they replace those of former models."""
    for turn_id, topic in found.items():
        values = {"turn_id": turn_id, "model_id": model_id, "topic": topic}
        upsert(conn, turn_topics, values, ["turn_id"])


def forget(conn: sa.Connection, turn_ids: Sequence[str]) -> None:
    conn.execute(sa.delete(turn_topics).where(turn_topics.c.turn_id.in_(list(turn_ids))))


def of_turns(conn: sa.Connection, model_id: str, turn_ids: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in in_chunks(turn_ids):
        query = sa.select(turn_topics).where(turn_topics.c.model_id == model_id, turn_topics.c.turn_id.in_(part))
        found.update({row.turn_id: row.topic for row in conn.execute(query)})
    return found


def _embedded(query: sa.Select[*Columns], version: str) -> sa.Select[*Columns]:
    return query.select_from(turns.join(turn_features, turn_features.c.turn_id == turns.c.id)).where(
        turns.c.role == "user", turn_features.c.version == version, turn_features.c.embedding.is_not(None)
    )


def forget_stray(conn: sa.Connection) -> int:
    """Delete the topics of turns that were deleted; return how many."""
    return conn.execute(sa.delete(turn_topics).where(turn_topics.c.turn_id.not_in(sa.select(turns.c.id)))).rowcount
