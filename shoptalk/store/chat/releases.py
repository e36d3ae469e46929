"""Releases with their events, what each alias should serve (desired) and what each API process serves (observed)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from shoptalk.domain import BASE_VERSION, AdapterRef, Release, ReleaseState
from shoptalk.store import adapters
from shoptalk.store.database import exclusively, machine_now, now, upsert
from shoptalk.store.schema import desired, observed, release_events
from shoptalk.store.schema import releases as t

STALE = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class ReleaseEvent:
    """One move of a release."""

    seq: int
    release_id: str
    move: str
    state: str
    actor: str
    reason: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Desired:
    """The adapter that an alias should serve, and the one it served before, which stays resident."""

    alias: str
    adapter: str
    previous: str | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Observed:
    """The adapter that one API process serves under an alias. `problem` says why it is not the desired one."""

    process: str
    alias: str
    adapter: str
    problem: str | None
    updated_at: datetime


def alone(conn: sa.Connection) -> None:
    """Let no other transaction move a release until this one ends. Call it before reading what a move depends on."""
    exclusively(conn, "releases")


def put(conn: sa.Connection, release: Release) -> None:
    upsert(
        conn,
        t,
        {
            "id": release.id,
            "alias": release.alias,
            "adapter": release.adapter,
            "previous": release.previous,
            "state": release.state.value,
            "evaluation_id": release.evaluation_id,
            "actor": release.actor,
            "created_at": release.created_at,
            "updated_at": release.updated_at,
        },
        ["id"],
    )


def find(conn: sa.Connection, release_id: str) -> Release | None:
    row = conn.execute(sa.select(t).where(t.c.id == release_id)).first()
    return _release(row) if row else None


def newest(conn: sa.Connection, limit: int = 50, alias: str | None = None) -> list[Release]:
    query = sa.select(t).order_by(t.c.created_at.desc(), t.c.id).limit(limit)
    return [_release(row) for row in conn.execute(query.where(t.c.alias == alias) if alias else query)]


def live(conn: sa.Connection, alias: str) -> Release | None:
    """Return the live release of an alias, None where it still serves the base model."""
    query = sa.select(t).where(t.c.alias == alias, t.c.state == ReleaseState.LIVE.value)
    row = conn.execute(query.order_by(t.c.updated_at.desc())).first()
    return _release(row) if row else None


def rolling_out(conn: sa.Connection, alias: str | None = None) -> list[Release]:
    """Return the releases that roll out, of one alias if one is given; at most one of each."""
    query = sa.select(t).where(t.c.state == ReleaseState.ROLLING_OUT.value)
    found = [_release(row) for row in conn.execute(query.where(t.c.alias == alias) if alias else query)]
    return sorted(found, key=lambda release: release.id)


def add_event(conn: sa.Connection, release_id: str, move: str, state: ReleaseState, actor: str, reason: str) -> None:
    conn.execute(
        sa.insert(release_events).values(
            release_id=release_id, move=move, state=state.value, actor=actor, reason=reason, created_at=now(conn)
        )
    )


def events(conn: sa.Connection, limit: int = 100, release_id: str | None = None) -> list[ReleaseEvent]:
    query = sa.select(release_events).order_by(release_events.c.seq.desc()).limit(limit)
    if release_id:
        query = query.where(release_events.c.release_id == release_id)
    return [ReleaseEvent(**row._mapping) for row in conn.execute(query)]


def set_desired(conn: sa.Connection, alias: str, adapter: str, previous: str | None) -> None:
    upsert(
        conn, desired, {"alias": alias, "adapter": adapter, "previous": previous, "updated_at": now(conn)}, ["alias"]
    )


def all_desired(conn: sa.Connection) -> list[Desired]:
    return [Desired(**row._mapping) for row in conn.execute(sa.select(desired).order_by(desired.c.alias))]


def desired_of(conn: sa.Connection, alias: str) -> Desired | None:
    row = conn.execute(sa.select(desired).where(desired.c.alias == alias)).first()
    return Desired(**row._mapping) if row else None


def set_observed(conn: sa.Connection, process: str, alias: str, adapter: str, problem: str | None) -> None:
    upsert(
        conn,
        observed,
        {"process": process, "alias": alias, "adapter": adapter, "problem": problem, "updated_at": machine_now(conn)},
        ["process", "alias"],
    )


def all_observed(conn: sa.Connection) -> list[Observed]:
    """Return what each API process serves that reported within STALE."""
    query = sa.select(observed).where(observed.c.updated_at >= machine_now(conn) - STALE).order_by(observed.c.alias)
    return [Observed(**row._mapping) for row in conn.execute(query)]


def served(conn: sa.Connection, alias: str) -> str | None:
    """Return the adapter that an alias serves: what all API processes serve that are alive, else what is live.

    None where that is the base model and nothing was ever released.
    """
    seen = {row.adapter for row in all_observed(conn) if row.alias == alias}
    if len(seen) == 1:
        return seen.pop()
    current = live(conn, alias)
    return current.adapter if current else None


def compared_with(conn: sa.Connection, alias: str) -> str:
    """Return the adapter that a candidate must be better than: the one that is served.

    The base model instead of one that must leave service because of an erasure: it is what would be served then.
    """
    base = AdapterRef(alias, BASE_VERSION)
    current = AdapterRef.parse(served(conn, alias) or str(base))
    return str(base if adapters.mark_of(conn, current) is not None else current)


def count_silent(conn: sa.Connection, silent: timedelta) -> int:
    """Return how many rows there are of API processes that reported nothing for so long."""
    gone = sa.select(sa.func.count()).where(observed.c.updated_at < machine_now(conn) - silent)
    return conn.execute(gone).scalar_one()


def forget_silent(conn: sa.Connection, silent: timedelta) -> int:
    """Remove what was observed of API processes that reported nothing for so long; return how many rows."""
    return conn.execute(sa.delete(observed).where(observed.c.updated_at < machine_now(conn) - silent)).rowcount


def forget_observed(conn: sa.Connection, process: str) -> None:
    conn.execute(sa.delete(observed).where(observed.c.process == process))


def _release(row: sa.Row[tuple[object, ...]]) -> Release:
    r = dict(row._mapping)
    return Release(**{**r, "state": ReleaseState(r["state"])})
