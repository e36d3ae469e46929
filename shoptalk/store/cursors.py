"""How far work that goes through a table in order has come, by the work's name."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from shoptalk.store.database import upsert
from shoptalk.store.schema import cursors as t

OWNER: Final = "shoptalk"


def get(conn: sa.Connection, name: str) -> int:
    """Return the position that was reached; 0 where the work has not begun."""
    return conn.execute(sa.select(t.c.position).where(t.c.name == name)).scalar() or 0


def put(conn: sa.Connection, name: str, position: int) -> None:
    """Record the position that was reached."""
    upsert(conn, t, {"name": name, "position": position}, ["name"])
