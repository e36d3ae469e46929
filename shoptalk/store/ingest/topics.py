"""Topic models (centroids of embeddings), and the topic of each turn."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from shoptalk.store import counters
from shoptalk.store.database import in_chunks, upsert
from shoptalk.store.schema import topic_models, turn_features, turn_topics, turns

EMBEDDED: Final = "embedded"  # the name in `counters` of how many customers' messages were embedded


@dataclass(frozen=True, slots=True)
class TopicModel:
    """A topic model. `centroids` is little-endian float32 of shape [topics, dimensions]."""

    id: str
    #: of the features it was made from
    version: str
    topics: int
    #: how many messages there were when it was made
    turns: int
    centroids: bytes
    #: the number of each centroid's topic, which a later model keeps where a topic stays
    names: Sequence[int]
    created_at: datetime


def add_model(conn: sa.Connection, model: TopicModel) -> None:
    conn.execute(sa.insert(topic_models), {**dataclasses.asdict(model), "names": list(model.names)})


def newest_model(conn: sa.Connection, version: str) -> TopicModel | None:
    """Return the newest model made from this version of the features."""
    query = sa.select(topic_models).where(topic_models.c.version == version)
    row = conn.execute(query.order_by(topic_models.c.created_at.desc(), topic_models.c.id).limit(1)).first()
    return TopicModel(**row._mapping) if row else None


def newest_id(conn: sa.Connection, version: str) -> str | None:
    """Return the newest model's id."""
    query = sa.select(topic_models.c.id).where(topic_models.c.version == version)
    return conn.execute(query.order_by(topic_models.c.created_at.desc(), topic_models.c.id).limit(1)).scalar()


def count_embedded(conn: sa.Connection) -> int:
    """Return how many customers' messages were embedded so far."""
    return counters.total(conn, EMBEDDED)


def newest_embeddings(conn: sa.Connection, version: str, limit: int) -> list[tuple[str, bytes]]:
    """Return (turn, embedding) of customers' messages among the newest `limit` turns."""
    newest = sa.select(turns.c.id, turns.c.role).order_by(turns.c.seq.desc()).limit(limit).subquery()
    query = (
        sa.select(newest.c.id, turn_features.c.embedding)
        .join(turn_features, turn_features.c.turn_id == newest.c.id)
        .where(newest.c.role == "user", turn_features.c.version == version, turn_features.c.embedding.is_not(None))
    )
    return [(row.id, row.embedding) for row in conn.execute(query)]


def assign(conn: sa.Connection, found: Mapping[str, int]) -> None:
    """Store the topics of turns; they replace former ones."""
    for turn_id, topic in found.items():
        upsert(conn, turn_topics, {"turn_id": turn_id, "topic": topic}, ["turn_id"])


def forget(conn: sa.Connection, turn_ids: Sequence[str]) -> None:
    for part in in_chunks(turn_ids):
        conn.execute(sa.delete(turn_topics).where(turn_topics.c.turn_id.in_(part)))


def of_turns(conn: sa.Connection, turn_ids: Sequence[str]) -> dict[str, int]:
    """Return the topics of those of the turns that have one."""
    found: dict[str, int] = {}
    for part in in_chunks(turn_ids):
        query = sa.select(turn_topics).where(turn_topics.c.turn_id.in_(part))
        found.update({row.turn_id: row.topic for row in conn.execute(query)})
    return found
