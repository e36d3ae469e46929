"""Totals that pages show, kept while rows are written, so that nothing has to count a table that grows.

Each total stands once for all time and once for each day (UTC) on which it changed. On PostgreSQL a total is divided
into SHARDS rows, of which a transaction takes one, so that few wait for each other.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import date
from typing import Final

import sqlalchemy as sa

from shoptalk.store.database import now
from shoptalk.store.schema import counters as t

OWNER: Final = "shoptalk"  # every stage's tables count here
ALL: Final = ""  # instead of a day: all time
SHARDS: Final = 8


def add(conn: sa.Connection, changes: Mapping[str, float]) -> None:
    """Add to totals by name. Where a transaction calls it more than once, all must name them in the same order."""
    shard = 0 if conn.dialect.name == "sqlite" else random.randrange(SHARDS)
    today = now(conn).date().isoformat()
    rows = [
        {"day": day, "name": name, "shard": shard, "value": float(value)}
        for day in (ALL, today)
        for name, value in sorted(changes.items())
        if value
    ]
    if rows:
        conn.execute(_statement(conn), rows)


def totals(conn: sa.Connection, prefix: str, day: date | None = None) -> dict[str, float]:
    """Return the totals whose names begin with `prefix:`, by the rest of the name; of all time or of one day.

    Totals of nothing are left out.
    """
    mine = t.c.name.startswith(f"{prefix}:", autoescape=True)
    query = sa.select(t.c.name, sa.func.sum(t.c.value)).where(t.c.day == _day(day), mine).group_by(t.c.name)
    found = {name.removeprefix(f"{prefix}:"): value for name, value in conn.execute(query.order_by(t.c.name))}
    return {name: value for name, value in found.items() if value}


def total(conn: sa.Connection, name: str, day: date | None = None) -> int:
    """Return one total; of all time or of one day."""
    query = sa.select(sa.func.sum(t.c.value)).where(t.c.day == _day(day), t.c.name == name)
    return round(conn.execute(query).scalar() or 0)


def _day(day: date | None) -> str:
    return day.isoformat() if day else ALL


def _statement(conn: sa.Connection) -> sa.Insert:
    from sqlalchemy.dialects import postgresql, sqlite

    statement = (sqlite if conn.dialect.name == "sqlite" else postgresql).insert(t)
    value = t.c.value + statement.excluded.value
    made: sa.Insert = statement.on_conflict_do_update(index_elements=["day", "name", "shard"], set_={"value": value})
    return made
