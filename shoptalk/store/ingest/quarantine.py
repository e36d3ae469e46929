"""What could not be admitted, and why; bodies are encrypted by the caller."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from shoptalk.store.database import bodies, insert_new, now
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
    """Says whether it was new."""
    values = {"id": id, "kind": kind, "conversation_id": conversation_id, "reason": reason[:400], "body": body}
    values["customer"] = customer
    return insert_new(conn, t, {**values, "created_at": now(conn)})


def reasons(conn: sa.Connection) -> dict[str, int]:
    rows = conn.execute(sa.select(t.c.reason, sa.func.count()).group_by(t.c.reason))
    return {reason: n for reason, n in rows}


def encrypted(conn: sa.Connection, limit: int, after: str | None = None) -> list[tuple[str, bytes]]:
    """(Id, body) of each that has one, in order."""
    return bodies(conn, t.c.id, t.c.body, limit, after)


def replace_body(conn: sa.Connection, id: str, before: bytes, body: bytes) -> None:
    """Unless it is another one by now."""
    conn.execute(sa.update(t).where(t.c.id == id, t.c.body == before).values(body=body))


def erase(conn: sa.Connection, conversations: Sequence[str]) -> int:
    return conn.execute(sa.delete(t).where(t.c.conversation_id.in_(list(conversations)))).rowcount


def find(conn: sa.Connection, entry_id: str) -> sa.Row[Any] | None:
    return conn.execute(sa.select(t).where(t.c.id == entry_id)).first()


def oldest(conn: sa.Connection, reason: str, limit: int) -> list[sa.Row[Any]]:
    """Those whose reason begins so."""
    query = sa.select(t).where(t.c.reason.startswith(reason, autoescape=True)).order_by(t.c.created_at, t.c.id)
    return list(conn.execute(query.limit(limit)))


def correct(conn: sa.Connection, entry_id: str, body: bytes) -> None:
    conn.execute(sa.update(t).where(t.c.id == entry_id).values(body=body))


def remove(conn: sa.Connection, ids: Sequence[str]) -> int:
    """How many were there."""
    return conn.execute(sa.delete(t).where(t.c.id.in_(list(ids)))).rowcount


def of_customer(conn: sa.Connection, customer: str) -> list[str]:
    """The conversations of which something is here that a customer said."""
    mine = t.c.customer == customer, t.c.kind == "exchange", t.c.conversation_id.is_not(None)
    return list(conn.execute(sa.select(t.c.conversation_id).where(*mine).distinct()).scalars())


def erase_feedback(conn: sa.Connection, customer: str) -> int:
    """A customer's feedback; what it is about may be nobody's."""
    return conn.execute(sa.delete(t).where(t.c.customer == customer, t.c.kind == "feedback")).rowcount


def customers(conn: sa.Connection, conversation_id: str) -> set[str]:
    """Whose words of a conversation are here."""
    query = sa.select(t.c.customer).where(t.c.conversation_id == conversation_id, t.c.customer.is_not(None)).distinct()
    return set(conn.execute(query).scalars())


def ascribe(conn: sa.Connection, conversation_id: str, customer: str) -> None:
    """What of imports is here of a conversation, and nobody is known to have said, was said by this customer."""
    mine = t.c.conversation_id == conversation_id, t.c.customer.is_(None), t.c.id.startswith("arr_", autoescape=True)
    conn.execute(sa.update(t).where(*mine).values(customer=customer))
