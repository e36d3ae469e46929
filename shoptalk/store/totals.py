"""Counts all totals again from the tables, for a store whose rows were written in bulk. Reads every row."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from shoptalk.store import counters
from shoptalk.store.chat.inferences import REPLIES
from shoptalk.store.ingest import conversations, feedback, topics
from shoptalk.store.ingest.turns import PII, TURNS
from shoptalk.store.labeling.labels import ANNOTATIONS, LABELS
from shoptalk.store.labeling.samples import SAMPLES, TASKS
from shoptalk.store.schema import (
    admitted_conversations,
    inferences,
    label_annotations,
    labels,
    pii_counts,
    samples,
    turn_features,
    turns,
)
from shoptalk.store.schema import counters as t
from shoptalk.store.schema import feedback as votes

OWNER: Final = "shoptalk"


def recount(conn: sa.Connection) -> None:
    """Replace all totals of all time; those of days are kept."""
    conn.execute(sa.delete(t).where(t.c.day == counters.ALL))
    rows = [{"day": counters.ALL, "name": name, "shard": 0, "value": value} for name, value in _found(conn) if value]
    if rows:
        conn.execute(sa.insert(t), rows)


def _found(conn: sa.Connection) -> list[tuple[str, float]]:
    number = sa.func.count()
    embedded = turns.c.role == "user", turn_features.c.embedding.is_not(None)
    single: dict[str, sa.Select[Any]] = {
        TURNS: sa.select(number).select_from(turns),
        conversations.TOTAL: sa.select(number).select_from(admitted_conversations),
        topics.EMBEDDED: sa.select(number)
        .select_from(turns.join(turn_features, turn_features.c.turn_id == turns.c.id))
        .where(*embedded),
        SAMPLES: sa.select(number).select_from(samples),
        TASKS: sa.select(number).select_from(samples).where(samples.c.task_id.is_not(None)),
        ANNOTATIONS: sa.select(number).select_from(label_annotations),
    }
    later = votes.alias()
    newer = sa.exists().where(
        later.c.inference_id == votes.c.inference_id,
        later.c.metric == votes.c.metric,
        sa.tuple_(later.c.created_at, later.c.id) > sa.tuple_(votes.c.created_at, votes.c.id),
    )
    admitted = inferences.join(turns, turns.c.inference_id == inferences.c.id)
    many: dict[str, tuple[sa.ColumnElement[Any], sa.ColumnElement[Any], Any, tuple[Any, ...]]] = {
        PII: (pii_counts.c.type, sa.func.sum(pii_counts.c.count), pii_counts, ()),
        REPLIES: (inferences.c.adapter, number, admitted, ()),
        LABELS: (labels.c.verdict, number, labels, ()),
        feedback.VOTES: (votes.c.metric, number, votes, (~newer,)),
        feedback.SUM: (votes.c.metric, sa.func.sum(votes.c.value), votes, (~newer,)),
    }
    found = [(name, float(conn.execute(query).scalar_one())) for name, query in single.items()]
    for prefix, (key, value, source, conditions) in many.items():
        query = sa.select(key, value).select_from(source).where(*conditions).group_by(key)
        found += [(f"{prefix}:{name}", float(n)) for name, n in conn.execute(query)]
    return found
