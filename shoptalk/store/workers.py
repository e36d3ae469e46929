"""Workers that run, on any host, and the leases by which one of them does what must not be done twice at once.

A lease belongs to its holder for as long as the holder is alive: it needs no renewing, and no guess of how long the
work takes.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from shoptalk.store.database import insert_new, machine_now, upsert
from shoptalk.store.schema import leases
from shoptalk.store.schema import workers as t

OWNER: Final = "shoptalk"  # by `shoptalk.processes.worker`


def beat(conn: sa.Connection, worker: str) -> None:
    """Record that a worker is alive."""
    upsert(conn, t, {"id": worker, "beat_at": machine_now(conn)}, ["id"])


def is_alive(conn: sa.Connection, worker: str, silent: timedelta) -> bool:
    """Return whether a worker gave a sign of life within this time."""
    found = sa.select(t.c.id).where(t.c.id == worker, t.c.beat_at >= machine_now(conn) - silent)
    return conn.execute(found).first() is not None


def forget(conn: sa.Connection, worker: str) -> None:
    """Remove a worker that ends in order, with its leases."""
    conn.execute(sa.delete(leases).where(leases.c.holder == worker))
    conn.execute(sa.delete(t).where(t.c.id == worker))


def forget_silent(conn: sa.Connection, silent: timedelta) -> int:
    """Remove workers that gave no sign of life within this time, with their leases; return how many."""
    gone = list(conn.execute(sa.select(t.c.id).where(t.c.beat_at < machine_now(conn) - silent)).scalars())
    for worker in gone:
        forget(conn, worker)
    return len(gone)


def holds(conn: sa.Connection, lease: str, worker: str) -> bool:
    """Return whether a worker has a lease."""
    return conn.execute(sa.select(leases.c.holder).where(leases.c.name == lease)).scalar() == worker


def take(conn: sa.Connection, lease: str, worker: str, silent: timedelta) -> bool:
    """Take a lease that nobody holds, or whose holder was `silent` for so long; return whether it is held now."""
    alive = sa.select(t.c.id).where(t.c.beat_at >= machine_now(conn) - silent)
    free = sa.or_(leases.c.holder == worker, leases.c.holder.not_in(alive))
    if conn.execute(sa.update(leases).where(leases.c.name == lease, free).values(holder=worker)).rowcount == 1:
        return True
    return insert_new(conn, leases, {"name": lease, "holder": worker})
