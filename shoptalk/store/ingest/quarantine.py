"""The quarantine: what could not be admitted, and why. The caller encrypts bodies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from shoptalk.store.database import bodies, insert_new, now, swap_body
from shoptalk.store.schema import quarantine as t


def add(
    conn: sa.Connection,
    id: str,
    kind: str,
    conversation_id: str | None,
    reason: str,
    body: bytes | None,
    customer: str | None = None,
) -> bool:
    """Add an entry; return whether its id was new."""
    values = {"id": id, "kind": kind, "conversation_id": conversation_id, "reason": reason[:400], "body": body}
    values["customer"] = customer
    return insert_new(conn, t, {**values, "created_at": now(conn)})


def reasons(conn: sa.Connection, most: int = 10_000) -> dict[str, int]:
    """Return how many of the latest entries, `most` of them, are there for each reason."""
    latest = sa.select(t.c.reason).order_by(t.c.created_at.desc()).limit(most).subquery()
    rows = conn.execute(sa.select(latest.c.reason, sa.func.count()).group_by(latest.c.reason))
    return {reason: n for reason, n in rows}


def encrypted(conn: sa.Connection, limit: int, after: str | None = None) -> list[tuple[str, bytes]]:
    """Return (id, body) of at most `limit` entries that have a body, in the ids' order, from after one on."""
    return bodies(conn, t.c.id, t.c.body, limit, after)


def replace_body(conn: sa.Connection, id: str, before: bytes, body: bytes) -> None:
    """Replace a body, unless it is no longer `before`."""
    swap_body(conn, t.c.id, t.c.body, id, before, body)


def erase(conn: sa.Connection, conversations: Sequence[str]) -> int:
    return conn.execute(sa.delete(t).where(t.c.conversation_id.in_(list(conversations)))).rowcount


def find(conn: sa.Connection, entry_id: str) -> sa.Row[Any] | None:
    return conn.execute(sa.select(t).where(t.c.id == entry_id)).first()


def oldest(conn: sa.Connection, reason: str, limit: int) -> list[sa.Row[Any]]:
    """Return the oldest entries whose reason begins with `reason`."""
    query = sa.select(t).where(t.c.reason.startswith(reason, autoescape=True)).order_by(t.c.created_at, t.c.id)
    return list(conn.execute(query.limit(limit)))


def correct(conn: sa.Connection, entry_id: str, body: bytes) -> None:
    conn.execute(sa.update(t).where(t.c.id == entry_id).values(body=body))


def remove(conn: sa.Connection, ids: Sequence[str]) -> int:
    """Delete entries; return how many there were."""
    return conn.execute(sa.delete(t).where(t.c.id.in_(list(ids)))).rowcount


def of_customer(conn: sa.Connection, customer: str) -> list[str]:
    """Return the conversations of which an exchange of this customer is here."""
    mine = t.c.customer == customer, t.c.kind == "exchange", t.c.conversation_id.is_not(None)
    return list(conn.execute(sa.select(t.c.conversation_id).where(*mine).distinct()).scalars())


def erase_feedback(conn: sa.Connection, customer: str) -> int:
    """Delete a customer's feedback; return how much. It may be about an inference that never was."""
    return conn.execute(sa.delete(t).where(t.c.customer == customer, t.c.kind == "feedback")).rowcount


def customers(conn: sa.Connection, conversation_id: str) -> set[str]:
    """Return the customers of a conversation's entries."""
    query = sa.select(t.c.customer).where(t.c.conversation_id == conversation_id, t.c.customer.is_not(None)).distinct()
    return set(conn.execute(query).scalars())


def ascribe(conn: sa.Connection, conversation_id: str, customer: str) -> None:
    """Record this customer for the imported entries of a conversation that have none."""
    mine = t.c.conversation_id == conversation_id, t.c.customer.is_(None), t.c.id.startswith("arr_", autoescape=True)
    conn.execute(sa.update(t).where(*mine).values(customer=customer))
