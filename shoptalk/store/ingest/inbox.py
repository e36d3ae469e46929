"""The inbox: what the API acknowledged and the drain has not admitted yet. The caller encrypts bodies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from shoptalk.store.database import bodies, count_up_to, insert_new, machine_now, now, swap_body
from shoptalk.store.schema import arrivals as t

COLUMNS: Final = (t.c.seq, t.c.id, t.c.kind, t.c.conversation_id, t.c.body, t.c.created_at, t.c.customer)


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """One acknowledged exchange or feedback; `seq` is its order."""

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
    """Add an entry; return whether its id was new. An entry of a batch waits until the batch is released."""
    values = {"id": id, "kind": kind, "conversation_id": conversation_id, "body": body, "created_at": now(conn)}
    return insert_new(conn, t, {**values, "batch_id": batch_id, "customer": customer})


def claim(conn: sa.Connection, limit: int, until: datetime, *, after: int = 0) -> list[InboxEntry]:
    """Claim the oldest entries that no other drain has claimed, until a time; return them in order.

    A claim is a lease that saves other drains the work. That an entry takes effect once follows from its removal alone.
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
    return sorted((InboxEntry(*row) for row in conn.execute(taken)), key=lambda entry: entry.seq)


def give_back(conn: sa.Connection, seqs: list[int]) -> None:
    """End the claims on these entries."""
    conn.execute(sa.update(t).where(t.c.seq.in_(seqs)).values(claimed_until=None))


def remove(conn: sa.Connection, seqs: list[int]) -> int:
    """Remove entries; return how many there were. Fewer than asked for means that another drain was first."""
    return conn.execute(sa.delete(t).where(t.c.seq.in_(seqs))).rowcount


def waits_before(conn: sa.Connection, conversation_id: str, seq: int) -> bool:
    """Return whether an earlier entry of this conversation still waits."""
    query = sa.select(t.c.seq).where(t.c.conversation_id == conversation_id, t.c.seq < seq).limit(1)
    return conn.execute(query).first() is not None


def backlog(conn: sa.Connection, most: int = 10_000) -> tuple[int, datetime | None]:
    """Return how many entries wait for a drain, at most `most`, and since when the oldest does; none of batches."""
    free = sa.select(t.c.created_at).where(t.c.batch_id.is_(None)).order_by(t.c.seq)
    return count_up_to(conn, free, most), conn.execute(free.limit(1)).scalar()


def waits(conn: sa.Connection, conversation_id: str) -> bool:
    """Return whether an entry of this conversation waits, in a batch too."""
    return conn.execute(sa.select(t.c.seq).where(t.c.conversation_id == conversation_id).limit(1)).first() is not None


def count(conn: sa.Connection, most: int = 10_000) -> int:
    """Return how many entries there are, of batches too, at most `most`."""
    return count_up_to(conn, sa.select(t.c.seq), most)


def batches(conn: sa.Connection) -> list[str]:
    """Return the ids of batches that have entries here, each found by one look into the index."""
    found: list[str] = []
    query = sa.select(t.c.batch_id).where(t.c.batch_id.is_not(None)).order_by(t.c.batch_id).limit(1)
    while (batch := conn.execute(query.where(t.c.batch_id > found[-1]) if found else query).scalar()) is not None:
        found.append(batch)
    return found


def release(conn: sa.Connection, batch_id: str, limit: int = 500) -> int:
    """Release at most `limit` entries of a batch to the drains; return how many."""
    some = sa.select(t.c.seq).where(t.c.batch_id == batch_id).order_by(t.c.seq).limit(limit)
    return conn.execute(sa.update(t).where(t.c.seq.in_(some)).values(batch_id=None)).rowcount


def refuse(conn: sa.Connection, batch_id: str, limit: int = 500) -> list[str]:
    """Delete at most `limit` entries of a batch; return the conversations they belonged to."""
    some = list(conn.execute(sa.select(t.c.seq).where(t.c.batch_id == batch_id).limit(limit)).scalars())
    query = sa.delete(t).where(t.c.seq.in_(some)).returning(t.c.conversation_id)
    return list(conn.execute(query).scalars()) if some else []


def encrypted(conn: sa.Connection, limit: int, after: int | None = None) -> list[tuple[int, bytes]]:
    """Return (seq, body) of at most `limit` entries, in order, from after one on."""
    return bodies(conn, t.c.seq, t.c.body, limit, after)


def replace_body(conn: sa.Connection, seq: int, before: bytes, body: bytes) -> None:
    """Replace a body, unless it is no longer `before`."""
    swap_body(conn, t.c.seq, t.c.body, seq, before, body)


def erase(conn: sa.Connection, conversations: Sequence[str]) -> int:
    """Delete the entries of conversations; return how many.

    Also deletes early feedback, which has the inference's id in place of a conversation's.
    """
    return conn.execute(sa.delete(t).where(t.c.conversation_id.in_(list(conversations)))).rowcount


def of_customer(conn: sa.Connection, customer: str) -> list[str]:
    """Return the conversations of which an exchange of this customer waits, in a batch too."""
    query = sa.select(t.c.conversation_id).where(t.c.customer == customer, t.c.kind == "exchange").distinct()
    return list(conn.execute(query.order_by(t.c.conversation_id)).scalars())


def erase_early(conn: sa.Connection, customer: str) -> int:
    """Delete a customer's feedback that waits; return how much. It may be about an inference that never was."""
    return conn.execute(sa.delete(t).where(t.c.customer == customer, t.c.kind == "feedback")).rowcount


def customers(conn: sa.Connection, conversation_id: str) -> set[str]:
    """Return the customers of a conversation's entries."""
    query = sa.select(t.c.customer).where(t.c.conversation_id == conversation_id, t.c.customer.is_not(None)).distinct()
    return set(conn.execute(query).scalars())


def ascribe(conn: sa.Connection, conversation_id: str, customer: str) -> None:
    """Record this customer for the imported entries of a conversation that have none."""
    mine = t.c.conversation_id == conversation_id, t.c.customer.is_(None), t.c.id.startswith("arr_", autoescape=True)
    conn.execute(sa.update(t).where(*mine).values(customer=customer))
