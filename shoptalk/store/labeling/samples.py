"""Replies chosen for annotators, and where they are in Label Studio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from shoptalk.domain import Feedback, Sample
from shoptalk.store import counters
from shoptalk.store.database import count_up_to, in_chunks, insert_new, now, upsert
from shoptalk.store.schema import feedback, label_annotations, label_projects, turns
from shoptalk.store.schema import samples as t

SAMPLES: Final = "samples"  # the totals' names in `counters`
TASKS: Final = "tasks"


def add(conn: sa.Connection, *added: Sample) -> int:
    """Record samples; return how many were new. A turn is sampled once."""
    new = [
        sample for sample in added
        if insert_new(
            conn, t,
            {"id": sample.id, "turn_id": sample.turn_id, "conversation_id": sample.conversation_id,
             "round_id": sample.round_id, "inclusion_probability": sample.inclusion_probability,
             "strategy": sample.strategy, "task_id": sample.task_id, "created_at": now(conn)},
        )
    ]  # fmt: skip
    counters.add(conn, {SAMPLES: len(new), TASKS: sum(sample.task_id is not None for sample in new)})
    return len(new)


def set_tasks(conn: sa.Connection, tasks: Mapping[str, int]) -> None:
    """Record the task of each sample that is still there, by sample."""
    fresh = 0
    for sample_id, task_id in tasks.items():
        mine = sa.update(t).where(t.c.id == sample_id)
        fresh += conn.execute(mine.where(t.c.task_id.is_(None)).values(task_id=task_id)).rowcount
        conn.execute(mine.where(t.c.task_id != task_id).values(task_id=task_id))
    counters.add(conn, {TASKS: fresh})


def clear_tasks(conn: sa.Connection, sample_ids: Sequence[str]) -> None:
    """Record that these samples have no task any more, so that they are pushed again."""
    cleared = 0
    for part in in_chunks(sample_ids):
        there = sa.update(t).where(t.c.id.in_(part), t.c.task_id.is_not(None))
        cleared += conn.execute(there.values(task_id=None)).rowcount
    counters.add(conn, {TASKS: -cleared})


def find(conn: sa.Connection, sample_id: str) -> Sample | None:
    row = conn.execute(sa.select(t).where(t.c.id == sample_id)).first()
    return _sample(row) if row else None


def unpushed(conn: sa.Connection, limit: int) -> list[Sample]:
    """Return samples without a task in Label Studio, oldest first."""
    query = sa.select(t).where(t.c.task_id.is_(None)).order_by(t.c.created_at, t.c.id).limit(limit)
    return [_sample(row) for row in conn.execute(query)]


def of_round(conn: sa.Connection, round_id: str) -> list[Sample]:
    return [_sample(row) for row in conn.execute(sa.select(t).where(t.c.round_id == round_id).order_by(t.c.id))]


def unanswered(conn: sa.Connection, round_id: str) -> list[Sample]:
    """Return a round's samples that have a task which nobody answered or skipped, by id."""
    answered = sa.exists().where(label_annotations.c.sample_id == t.c.id)
    query = sa.select(t).where(t.c.round_id == round_id, t.c.task_id.is_not(None), ~answered)
    return [_sample(row) for row in conn.execute(query.order_by(t.c.id))]


def candidates(conn: sa.Connection, limit: int) -> list[tuple[str, str, str]]:
    """Return replies never sampled, newest first: (turn id, conversation id, inference id)."""
    taken = sa.exists().where(t.c.turn_id == turns.c.id)
    query = (
        sa.select(turns.c.id, turns.c.conversation_id, turns.c.inference_id)
        .where(turns.c.role == "assistant", turns.c.inference_id.is_not(None), turns.c.text.is_not(None), ~taken)
        .order_by(turns.c.seq.desc(), turns.c.id)
        .limit(limit)
    )
    return [(r.id, r.conversation_id, r.inference_id) for r in conn.execute(query)]


def count(conn: sa.Connection, *, pushed: bool = False) -> int:
    """Return the number of samples, or only of those with a task in Label Studio."""
    return counters.total(conn, TASKS if pushed else SAMPLES)


def count_of_round(conn: sa.Connection, round_id: str) -> int:
    return conn.execute(sa.select(sa.func.count()).select_from(t).where(t.c.round_id == round_id)).scalar_one()


def count_since(conn: sa.Connection, moment: datetime, most: int) -> int:
    """Return how many samples were drawn since a moment, at most `most`."""
    return count_up_to(conn, sa.select(t.c.id).where(t.c.created_at >= moment), most)


def count_unpushed(conn: sa.Connection, most: int = 10_000) -> int:
    """Return how many samples have no task yet, at most `most`."""
    return count_up_to(conn, sa.select(t.c.id).where(t.c.task_id.is_(None)), most)


def project(conn: sa.Connection, name: str) -> tuple[int, datetime | None] | None:
    """Return a Label Studio project's id, and up to when its annotations were pulled."""
    row = conn.execute(sa.select(label_projects).where(label_projects.c.name == name)).first()
    return (row.project_id, row.cursor) if row else None


def set_project(conn: sa.Connection, name: str, project_id: int, cursor: datetime | None) -> None:
    """Record a Label Studio project and up to when its annotations were pulled."""
    upsert(conn, label_projects, {"name": name, "project_id": project_id, "cursor": cursor}, ["name"])


def forget_project(conn: sa.Connection, name: str) -> None:
    """Remove what is known of a Label Studio project."""
    conn.execute(sa.delete(label_projects).where(label_projects.c.name == name))


def first_replies(conn: sa.Connection, turn_ids: Sequence[str]) -> set[str]:
    """Return those of the turns that answer a conversation's first message."""
    opening = turns.alias("opening")
    found: set[str] = set()
    for part in in_chunks(turn_ids):
        query = (
            sa.select(turns.c.id)
            .join(opening, opening.c.id == turns.c.parent_id)
            .where(turns.c.id.in_(part), opening.c.parent_id.is_(None))
        )
        found.update(conn.execute(query).scalars())
    return found


def answered(conn: sa.Connection, turn_ids: Sequence[str]) -> dict[str, str]:
    """Return the turn that each of these replies answers, by reply."""
    found: dict[str, str] = {}
    for part in in_chunks(turn_ids):
        query = sa.select(turns.c.id, turns.c.parent_id).where(turns.c.id.in_(part))
        found.update({row.id: row.parent_id for row in conn.execute(query) if row.parent_id})
    return found


def conversation_feedback(conn: sa.Connection, conversation_ids: Sequence[str]) -> dict[str, list[Feedback]]:
    """Return feedback on whole conversations, that is without an inference, by conversation."""
    found: dict[str, list[Feedback]] = {}
    for part in in_chunks(sorted(set(conversation_ids))):
        query = sa.select(feedback).where(feedback.c.conversation_id.in_(part), feedback.c.inference_id.is_(None))
        for row in conn.execute(query):
            found.setdefault(row.conversation_id, []).append(Feedback(**row._mapping))
    return found


def find_many(conn: sa.Connection, sample_ids: Sequence[str]) -> dict[str, Sample]:
    """Return those of the samples that exist, by id."""
    found: dict[str, Sample] = {}
    for part in in_chunks(sample_ids):
        query = sa.select(t).where(t.c.id.in_(part))
        found.update({row.id: _sample(row) for row in conn.execute(query)})
    return found


def _sample(row: sa.Row[tuple[object, ...]]) -> Sample:
    r = row._mapping
    return Sample(
        id=r["id"],
        turn_id=r["turn_id"],
        conversation_id=r["conversation_id"],
        round_id=r["round_id"],
        inclusion_probability=r["inclusion_probability"],
        strategy=r["strategy"],
        task_id=r["task_id"],
    )


def of_conversations(conn: sa.Connection, conversations: Sequence[str]) -> list[Sample]:
    query = sa.select(t).where(t.c.conversation_id.in_(list(conversations))).order_by(t.c.id)
    return [_sample(row) for row in conn.execute(query)]


def projects(conn: sa.Connection) -> list[int]:
    """Return the ids of the Label Studio projects that tasks were sent to."""
    return sorted(set(conn.execute(sa.select(label_projects.c.project_id)).scalars()))


def erase(conn: sa.Connection, conversations: Sequence[str]) -> int:
    """Delete the samples of conversations; return how many there were."""
    mine = t.c.conversation_id.in_(list(conversations))
    tasks = list(conn.execute(sa.select(t.c.task_id).where(mine)).scalars())
    conn.execute(sa.delete(t).where(mine))
    counters.add(conn, {SAMPLES: -len(tasks), TASKS: -sum(task is not None for task in tasks)})
    return len(tasks)
