"""Admitted turns, their features, and the counts of personal data removed from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from shoptalk.domain import Turn
from shoptalk.store import counters
from shoptalk.store.database import in_chunks, insert_new, now, upsert
from shoptalk.store.ingest import feature_queue
from shoptalk.store.schema import pii_counts, samples, turn_features, turns

FEATURES: Final = "turn-2"
"""The version of turns' features. Where it changes they are computed again, beside the older ones."""
TURNS: Final = "turns"  # the total's name in `counters`, as the next
PII: Final = "removed"


@dataclass(frozen=True, slots=True)
class Features:
    """The features of a turn, computed once."""

    turn_id: str
    characters: int
    words: int
    refusal: bool
    #: little-endian float32, L2-normalised; None for empty turns
    embedding: bytes | None
    #: ISO 639-1 code; None where it is not certain
    language: str | None = None
    #: -1 to 1; None for languages for which it is not known
    sentiment: float | None = None
    #: of the inference that said it
    mean_logprob: float | None = None
    #: id that near-duplicate turns of the same role share
    cluster: str | None = None


def add(conn: sa.Connection, turn: Turn, seq: int, content_hash: str) -> bool:
    """Store a turn, and queue it for its features; return whether it was new."""
    new = insert_new(
        conn, turns,
        {"id": turn.id, "seq": seq, "conversation_id": turn.conversation_id, "parent_id": turn.parent_id,
         "role": turn.role, "text": turn.text, "reason": turn.reason, "inference_id": turn.inference_id,
         "content_hash": content_hash, "at": turn.at, "admitted_at": now(conn), "customer": turn.customer},
    )  # fmt: skip
    if new and turn.text is not None:
        feature_queue.add(conn, turn.id, seq)
    return new


def rewrite(conn: sa.Connection, turn_id: str, text: str, content_hash: str) -> None:
    """Replace a turn's text in which a later turn revealed personal data; its features are computed again."""
    conn.execute(sa.update(turns).where(turns.c.id == turn_id).values(text=text, content_hash=content_hash))
    conn.execute(sa.delete(turn_features).where(turn_features.c.turn_id == turn_id))
    seq = conn.execute(sa.select(turns.c.seq).where(turns.c.id == turn_id)).scalar()
    if seq is not None:
        feature_queue.add(conn, turn_id, seq)


def find(conn: sa.Connection, turn_id: str) -> Turn | None:
    row = conn.execute(sa.select(turns).where(turns.c.id == turn_id)).first()
    return _turn(row) if row else None


def many(conn: sa.Connection, turn_ids: Sequence[str]) -> dict[str, Turn]:
    """Return those of the turns that are admitted, by id."""
    found: dict[str, Turn] = {}
    for part in in_chunks(turn_ids):
        query = sa.select(turns).where(turns.c.id.in_(part))
        found.update({row.id: _turn(row) for row in conn.execute(query)})
    return found


def of_conversation(conn: sa.Connection, conversation_id: str) -> list[Turn]:
    query = sa.select(turns).where(turns.c.conversation_id == conversation_id).order_by(turns.c.at, turns.c.seq)
    return [_turn(row) for row in conn.execute(query)]


def path_to(conn: sa.Connection, turn_id: str) -> list[Turn]:
    """Return the turns from the conversation's first to this one, along parents."""
    leaf = find(conn, turn_id)
    if leaf is None:
        return []
    known = {turn.id: turn for turn in of_conversation(conn, leaf.conversation_id)}
    path: list[Turn] = [leaf]
    while (parent := path[-1].parent_id) and parent in known and known[parent] not in path:
        path.append(known[parent])
    return path[::-1]


def after(conn: sa.Connection, version: str, seq: int, limit: int) -> list[tuple[str, int, bool]]:
    """Return (turn, seq, whether it has features of this version) of the next turns after `seq` that have a text."""
    has = sa.exists().where(turn_features.c.turn_id == turns.c.id, turn_features.c.version == version)
    query = sa.select(turns.c.id, turns.c.seq, has).where(turns.c.seq > seq, turns.c.text.is_not(None))
    return [tuple(row) for row in conn.execute(query.order_by(turns.c.seq).limit(limit))]


def add_features(conn: sa.Connection, version: str, rows: Sequence[Features]) -> list[str]:
    """Store features; return the turns that had none."""
    return [
        f.turn_id
        for f in rows
        if insert_new(
            conn, turn_features,
            {"turn_id": f.turn_id, "version": version, "characters": f.characters, "words": f.words,
             "refusal": int(f.refusal), "embedding": f.embedding, "language": f.language, "sentiment": f.sentiment,
             "mean_logprob": f.mean_logprob, "cluster_id": f.cluster},
        )
    ]  # fmt: skip


def features(conn: sa.Connection, version: str, turn_ids: Sequence[str]) -> dict[str, Features]:
    found: dict[str, Features] = {}
    for part in in_chunks(turn_ids):
        query = sa.select(turn_features).where(turn_features.c.version == version, turn_features.c.turn_id.in_(part))
        for r in conn.execute(query):
            found[r.turn_id] = Features(
                r.turn_id, r.characters, r.words, bool(r.refusal), r.embedding, r.language, r.sentiment, r.mean_logprob,
                r.cluster_id,
            )  # fmt: skip
    return found


def add_pii_counts(
    conn: sa.Connection, subject: str, conversation_id: str, counts: Mapping[str, int], scrubber: str
) -> None:
    """Store how many values of each type were removed from an inbox entry; replaces earlier counts of it."""
    for kind, n in counts.items():
        upsert(
            conn, pii_counts,
            {"subject": subject, "type": kind, "count": n, "conversation_id": conversation_id, "scrubber": scrubber},
            ["subject", "type"],
        )  # fmt: skip


def pii_totals(conn: sa.Connection) -> dict[str, int]:
    """Return how many values of each type were removed from what is there now."""
    return {kind: round(n) for kind, n in counters.totals(conn, PII).items()}


def count(conn: sa.Connection) -> int:
    """Return the number of admitted turns."""
    return counters.total(conn, TURNS)


def _turn(row: sa.Row[tuple[object, ...]]) -> Turn:
    r = row._mapping
    return Turn(
        id=r["id"],
        conversation_id=r["conversation_id"],
        parent_id=r["parent_id"],
        role=r["role"],
        text=r["text"],
        at=r["at"],
        inference_id=r["inference_id"],
        reason=r["reason"],
        customer=r["customer"],
    )


def newest_replies(conn: sa.Connection, limit: int) -> list[str]:
    """Return the ids of the bot's newest replies."""
    query = sa.select(turns.c.id).where(turns.c.role == "assistant", turns.c.inference_id.is_not(None))
    return list(conn.execute(query.order_by(turns.c.seq.desc()).limit(limit)).scalars())


def last_seq(conn: sa.Connection) -> int:
    return conn.execute(sa.select(sa.func.max(turns.c.seq))).scalar() or 0


def first_admitted(conn: sa.Connection, conversations: Sequence[str]) -> datetime | None:
    query = sa.select(sa.func.min(turns.c.admitted_at)).where(turns.c.conversation_id.in_(list(conversations)))
    return conn.execute(query).scalar()


def ids_of(conn: sa.Connection, conversations: Sequence[str]) -> list[str]:
    return list(conn.execute(sa.select(turns.c.id).where(turns.c.conversation_id.in_(list(conversations)))).scalars())


def erase(conn: sa.Connection, conversations: Sequence[str]) -> tuple[dict[str, float], list[str]]:
    """Delete turns with their features and counts of personal data.

    Return by how much totals change, and the clusters that have no turn any more.
    """
    ids, of_these = ids_of(conn, conversations), pii_counts.c.conversation_id.in_(list(conversations))
    feature_queue.done(conn, ids)
    mine = turn_features.c.turn_id.in_(ids)
    query = sa.select(turn_features.c.cluster_id).where(mine, turn_features.c.cluster_id.is_not(None)).distinct()
    clusters = list(conn.execute(query).scalars())
    removed = sa.select(pii_counts.c.type, sa.func.sum(pii_counts.c.count)).where(of_these).group_by(pii_counts.c.type)
    changes = {f"{PII}:{kind}": -float(n) for kind, n in conn.execute(removed)}
    changes[TURNS] = -float(len(ids))
    conn.execute(sa.delete(turn_features).where(mine))
    conn.execute(sa.delete(pii_counts).where(of_these))
    conn.execute(sa.delete(turns).where(turns.c.id.in_(ids)))
    return changes, [cluster for cluster in sorted(clusters) if not _has_turns(conn, cluster)]


def _has_turns(conn: sa.Connection, cluster: str) -> bool:
    query = sa.select(turn_features.c.turn_id).where(turn_features.c.cluster_id == cluster).limit(1)
    return conn.execute(query).first() is not None


def supersede(conn: sa.Connection, conversation_id: str, turn_ids: Sequence[str]) -> list[str]:
    """Delete turns of a conversation's former version, except those that were sampled; return the deleted ids."""
    asked = sa.select(samples.c.turn_id).where(samples.c.conversation_id == conversation_id)
    mine = turns.c.id.in_(list(turn_ids)), turns.c.conversation_id == conversation_id
    gone = list(conn.execute(sa.select(turns.c.id).where(*mine, turns.c.id.not_in(asked))).scalars())
    feature_queue.done(conn, gone)
    conn.execute(sa.delete(turn_features).where(turn_features.c.turn_id.in_(gone)))
    conn.execute(sa.delete(turns).where(turns.c.id.in_(gone)))
    return gone


def of_customer(conn: sa.Connection, customer: str) -> list[str]:
    """Return the ids of the conversations with turns of a customer."""
    query = sa.select(turns.c.conversation_id).where(turns.c.customer == customer).distinct()
    return list(conn.execute(query.order_by(turns.c.conversation_id)).scalars())


def customers(conn: sa.Connection, conversation_id: str) -> set[str]:
    """Return the customers of a conversation's turns."""
    mine = turns.c.conversation_id == conversation_id
    return set(
        conn.execute(sa.select(turns.c.customer).where(mine, turns.c.customer.is_not(None)).distinct()).scalars()
    )


def ascribe(conn: sa.Connection, turn_ids: Sequence[str], customer: str) -> None:
    """Record these turns as said by, or to, a customer."""
    for part in in_chunks(turn_ids):
        conn.execute(sa.update(turns).where(turns.c.id.in_(part)).values(customer=customer))
