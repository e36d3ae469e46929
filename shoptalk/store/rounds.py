"""Rounds of learning, and the result of each of their steps, keyed by (round, step)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from shoptalk import moves
from shoptalk.domain import RoundState
from shoptalk.store.database import insert_new, now, upsert
from shoptalk.store.schema import round_steps, triggers
from shoptalk.store.schema import rounds as t

OWNER: Final = "shoptalk"
UNFINISHED: Final = tuple(state for state in moves.ROUND.states if state not in moves.ROUND.final)


@dataclass(frozen=True, slots=True)
class Round:
    """A round of learning. While it is `waiting`, it waits for labels."""

    id: str
    trigger_id: str | None
    state: RoundState
    #: the step it is at; the outcome when it is finished
    step: str
    #: why it failed
    problem: str | None
    created_at: datetime
    updated_at: datetime


def open_for(conn: sa.Connection, trigger_id: str, round_id: str) -> bool:
    """Start a round for a trigger that has none; return whether that was possible."""
    taken = sa.update(triggers).where(triggers.c.id == trigger_id, triggers.c.round_id.is_(None))
    if conn.execute(taken.values(round_id=round_id)).rowcount != 1:
        return False
    values = {"id": round_id, "trigger_id": trigger_id, "state": moves.ROUND.initial, "step": "start"}
    return insert_new(conn, t, {**values, "created_at": now(conn), "updated_at": now(conn)})


def move(conn: sa.Connection, round_id: str, move: str, step: str, problem: str | None = None) -> bool:
    """Make a move of `moves.ROUND` and return whether the round could make it.

    A compare-and-swap: a round that is finished, or that does not exist, is left as it is.
    """
    allowed = moves.ROUND.moves[move]
    values = {"state": allowed.target, "step": step, "problem": problem, "updated_at": now(conn)}
    mine = sa.update(t).where(t.c.id == round_id, t.c.state.in_(allowed.sources))
    return conn.execute(mine.values(**values)).rowcount == 1


def find(conn: sa.Connection, round_id: str) -> Round | None:
    row = conn.execute(sa.select(t).where(t.c.id == round_id)).first()
    return Round(**row._mapping) if row else None


def newest(conn: sa.Connection, limit: int = 50) -> list[Round]:
    return [Round(**row._mapping) for row in conn.execute(sa.select(t).order_by(t.c.created_at.desc()).limit(limit))]


def unfinished(conn: sa.Connection) -> list[Round]:
    return [Round(**row._mapping) for row in conn.execute(sa.select(t).where(t.c.state.in_(UNFINISHED)))]


def untaken_triggers(conn: sa.Connection) -> list[str]:
    """Return the ids of triggers that no round was started for, oldest first."""
    query = sa.select(triggers.c.id).where(triggers.c.round_id.is_(None)).order_by(triggers.c.created_at)
    return list(conn.execute(query).scalars())


def result(conn: sa.Connection, round_id: str, step: str) -> dict[str, Any] | None:
    """Return the result of a step, None where it has not finished."""
    query = sa.select(round_steps.c.result).where(round_steps.c.round_id == round_id, round_steps.c.step == step)
    return conn.execute(query).scalar()


def results(conn: sa.Connection, round_id: str) -> dict[str, dict[str, Any]]:
    """Return the results of all steps that have finished, by step."""
    query = sa.select(round_steps.c.step, round_steps.c.result).where(round_steps.c.round_id == round_id)
    return {step: value for step, value in conn.execute(query)}


def set_result(conn: sa.Connection, round_id: str, step: str, value: Mapping[str, Any]) -> None:
    values = {"round_id": round_id, "step": step, "result": dict(value), "created_at": now(conn)}
    upsert(conn, round_steps, values, ["round_id", "step"])
