"""What the API acknowledged and the drain has not yet admitted; bodies are encrypted by the caller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from shoptalk.store.database import bodies, insert_new, machine_now, now
from shoptalk.store.schema import arrivals as t

COLUMNS: Final = (t.c.seq, t.c.id, t.c.kind, t.c.conversation_id, t.c.body, t.c.created_at, t.c.customer)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One acknowledged thing: `kind` is `exchange` or `feedback`."""

    seq: int
    id: str
    kind: str
    conversation_id: str
    body: bytes
    created_at: datetime
    customer: str | None


def add(
    conn: sa.Connection,
    id: str,
    kind: str,
    conversation_id: str,
    body: bytes,
    batch_id: str | None = None,
    customer: str | None = None,
) -> bool:
    """Says whether it was new; an id is taken once only. What belongs to a batch waits until that is released."""
    values = {"id": id, "kind": kind, "conversation_id": conversation_id, "body": body, "created_at": now(conn)}
    return insert_new(conn, t, {**values, "batch_id": batch_id, "customer": customer})


def claim(conn: sa.Connection, limit: int, until: datetime, *, after: int = 0) -> list[Arrival]:
    """The oldest that no other drain has claimed, in order of arrival, claimed by this one until then.

    A claim saves others the work; that an arrival takes effect once follows from its removal alone.
    """
    free = (
        sa.select(t.c.seq)
        .where(t.c.seq > after, t.c.batch_id.is_(None))
        .where(sa.or_(t.c.claimed_until.is_(None), t.c.claimed_until < machine_now(conn)))
        .order_by(t.c.seq)
        .limit(limit)
        .with_for_update(skip_locked=True)  # of two drains at once, neither waits for the other
    )
    taken = sa.update(t).where(t.c.seq.in_(free)).values(claimed_until=until).returning(*COLUMNS)
    return sorted((Arrival(*row) for row in conn.execute(taken)), key=lambda arrival: arrival.seq)


def give_back(conn: sa.Connection, seqs: list[int]) -> None:
    """End this drain's claims."""
    conn.execute(sa.update(t).where(t.c.seq.in_(seqs)).values(claimed_until=None))


def remove(conn: sa.Connection, seqs: list[int]) -> int:
    """How many were there: fewer than asked means another drain was first."""
    return conn.execute(sa.delete(t).where(t.c.seq.in_(seqs))).rowcount


def waits_before(conn: sa.Connection, conversation_id: str, seq: int) -> bool:
    """Does an earlier arrival of this conversation still wait?"""
    query = sa.select(t.c.seq).where(t.c.conversation_id == conversation_id, t.c.seq < seq).limit(1)
    return conn.execute(query).first() is not None


def backlog(conn: sa.Connection) -> tuple[int, datetime | None]:
    """How many wait for a drain, and since when the oldest does; without those whose batch is not released."""
    query = sa.select(sa.func.count(), sa.func.min(t.c.created_at)).select_from(t).where(t.c.batch_id.is_(None))
    waiting, since = conn.execute(query).one()
    return waiting, since


def waits(conn: sa.Connection, conversation_id: str) -> bool:
    """Does anything of this conversation wait, also in a batch?"""
    return conn.execute(sa.select(t.c.seq).where(t.c.conversation_id == conversation_id).limit(1)).first() is not None


def count(conn: sa.Connection) -> int:
    return conn.execute(sa.select(sa.func.count()).select_from(t)).scalar_one()


def batches(conn: sa.Connection) -> list[str]:
    """Those that have arrivals waiting."""
    return list(conn.execute(sa.select(t.c.batch_id).where(t.c.batch_id.is_not(None)).distinct()).scalars())


def release(conn: sa.Connection, batch_id: str, limit: int = 500) -> int:
    """Let so many of a batch go to the drains; how many went."""
    some = sa.select(t.c.seq).where(t.c.batch_id == batch_id).order_by(t.c.seq).limit(limit)
    return conn.execute(sa.update(t).where(t.c.seq.in_(some)).values(batch_id=None)).rowcount


def refuse(conn: sa.Connection, batch_id: str, limit: int = 500) -> list[str]:
    """Delete so many of a batch; the conversations they were of."""
    some = list(conn.execute(sa.select(t.c.seq).where(t.c.batch_id == batch_id).limit(limit)).scalars())
    query = sa.delete(t).where(t.c.seq.in_(some)).returning(t.c.conversation_id)
    return list(conn.execute(query).scalars()) if some else []


def encrypted(conn: sa.Connection, limit: int, after: int | None = None) -> list[tuple[int, bytes]]:
    """(Number, body) of each that has one, in order."""
    return bodies(conn, t.c.seq, t.c.body, limit, after)


def replace_body(conn: sa.Connection, seq: int, before: bytes, body: bytes) -> None:
    """Unless it is another one by now."""
    conn.execute(sa.update(t).where(t.c.seq == seq, t.c.body == before).values(body=body))


def erase(conn: sa.Connection, conversations: Sequence[str]) -> int:
    """Also early feedback, whose conversation is the inference's id."""
    return conn.execute(sa.delete(t).where(t.c.conversation_id.in_(list(conversations)))).rowcount


def of_customer(conn: sa.Connection, customer: str) -> list[str]:
    """The conversations in which something waits that a customer said, also in a batch."""
    query = sa.select(t.c.conversation_id).where(t.c.customer == customer, t.c.kind == "exchange").distinct()
    return list(conn.execute(query.order_by(t.c.conversation_id)).scalars())


def erase_early(conn: sa.Connection, customer: str) -> int:
    """A customer's feedback that waits; what it is about may be nobody's."""
    return conn.execute(sa.delete(t).where(t.c.customer == customer, t.c.kind == "feedback")).rowcount


def customers(conn: sa.Connection, conversation_id: str) -> set[str]:
    """Whose words wait in a conversation."""
    query = sa.select(t.c.customer).where(t.c.conversation_id == conversation_id, t.c.customer.is_not(None)).distinct()
    return set(conn.execute(query).scalars())


def ascribe(conn: sa.Connection, conversation_id: str, customer: str) -> None:
    """What of imports waits in a conversation, and nobody is known to have said, was said by this customer."""
    mine = t.c.conversation_id == conversation_id, t.c.customer.is_(None), t.c.id.startswith("arr_", autoescape=True)
    conn.execute(sa.update(t).where(*mine).values(customer=customer))
