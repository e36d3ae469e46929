"""Rounds of learning, and the result of each of their steps, keyed by (round, step)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from shoptalk import moves
from shoptalk.domain import RoundState, TriggerKind
from shoptalk.store.database import insert_new, now
from shoptalk.store.schema import round_steps, triggers
from shoptalk.store.schema import rounds as t

OWNER: Final = "shoptalk"
UNFINISHED: Final = tuple(state for state in moves.ROUND.states if state not in moves.ROUND.final)


@dataclass(frozen=True, slots=True)
class Round:
    """A round of learning. While it is `waiting`, it waits for what its step says: labels, or its release."""

    id: str
    #: the trigger it was started for; others may have joined it
    trigger_id: str | None
    state: RoundState
    #: the step it is at; the outcome when it is finished
    step: str
    #: why it failed
    problem: str | None
    #: whether it trains on the labels that are there, and waits for no more
    learn_now: bool
    created_at: datetime
    updated_at: datetime

    @property
    def awaits_labels(self) -> bool:
        """Return whether it waits for annotators."""
        return self.state == "waiting" and self.step == "labels"


def open_for(conn: sa.Connection, trigger_id: str, round_id: str) -> bool:
    """Start a round for a trigger that has none; return whether that was possible."""
    if not join(conn, trigger_id, round_id):
        return False
    values = {"id": round_id, "trigger_id": trigger_id, "state": moves.ROUND.initial, "step": "start", "learn_now": 0}
    return insert_new(conn, t, {**values, "created_at": now(conn), "updated_at": now(conn)})


def join(conn: sa.Connection, trigger_id: str, round_id: str) -> bool:
    """Let a trigger that has no round join one; return whether that was possible."""
    taken = sa.update(triggers).where(triggers.c.id == trigger_id, triggers.c.round_id.is_(None))
    return conn.execute(taken.values(round_id=round_id)).rowcount == 1


def move(conn: sa.Connection, round_id: str, move: str, step: str, problem: str | None = None) -> bool:
    """Make a move of `moves.ROUND` and return whether the round could make it.

    A compare-and-swap: a round that is finished, or that does not exist, is left as it is.
    """
    allowed = moves.ROUND.moves[move]
    values = {"state": allowed.target, "step": step, "problem": problem, "updated_at": now(conn)}
    mine = sa.update(t).where(t.c.id == round_id, t.c.state.in_(allowed.sources))
    return conn.execute(mine.values(**values)).rowcount == 1


def learn_now(conn: sa.Connection, round_id: str) -> bool:
    """Let a round wait for no more labels; return whether it is one that is not finished."""
    mine = sa.update(t).where(t.c.id == round_id, t.c.state.in_(UNFINISHED))
    return conn.execute(mine.values(learn_now=1, updated_at=now(conn))).rowcount == 1


def find(conn: sa.Connection, round_id: str) -> Round | None:
    row = conn.execute(sa.select(t).where(t.c.id == round_id)).first()
    return _round(row) if row else None


def newest(conn: sa.Connection, limit: int = 50) -> list[Round]:
    """Return the latest, latest first."""
    query = sa.select(t).order_by(t.c.created_at.desc(), t.c.id).limit(limit)
    return [_round(row) for row in conn.execute(query)]


def unfinished(conn: sa.Connection) -> list[Round]:
    """Return the rounds that are under way, oldest first."""
    query = sa.select(t).where(t.c.state.in_(UNFINISHED)).order_by(t.c.created_at, t.c.id)
    return [_round(row) for row in conn.execute(query)]


def untaken_triggers(conn: sa.Connection) -> list[tuple[str, TriggerKind]]:
    """Return (id, kind) of the triggers that have no round, oldest first."""
    query = sa.select(triggers.c.id, triggers.c.kind).where(triggers.c.round_id.is_(None))
    return [(row.id, row.kind) for row in conn.execute(query.order_by(triggers.c.created_at, triggers.c.id))]


def result(conn: sa.Connection, round_id: str, step: str) -> dict[str, Any] | None:
    """Return the result of a step, None where it has not finished."""
    query = sa.select(round_steps.c.result).where(round_steps.c.round_id == round_id, round_steps.c.step == step)
    return conn.execute(query).scalar()


def results(conn: sa.Connection, round_id: str) -> dict[str, dict[str, Any]]:
    """Return the results of all steps that have finished, by step."""
    query = sa.select(round_steps.c.step, round_steps.c.result).where(round_steps.c.round_id == round_id)
    return {step: value for step, value in conn.execute(query)}


def set_result(conn: sa.Connection, round_id: str, step: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """Record the result of a step; return the one that counts: the first, where two processes did it."""
    values = {"round_id": round_id, "step": step, "result": dict(value), "created_at": now(conn)}
    if insert_new(conn, round_steps, values):
        return dict(value)
    return result(conn, round_id, step) or dict(value)


def _round(row: sa.Row[Any]) -> Round:
    return Round(**{**row._mapping, "learn_now": bool(row.learn_now)})
