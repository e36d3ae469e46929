"""Conversations as the API knows them: their owner, and the tree of their turns by digest. Holds no text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from shoptalk.domain import Role
from shoptalk.store.database import insert_new, now
from shoptalk.store.schema import chat_turns, conversations


@dataclass(frozen=True, slots=True)
class StoredConversation:
    """A conversation: its owner and its customer, by the stored forms of their ids."""

    id: str
    owner: str
    customer: str | None
    #: keyed hash of the id that clients use
    public_hash: str | None = None
    #: that id itself, where it was made up here and not by a client
    made_id: str | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A stored turn: its parent in the tree, and its keyed digest."""

    id: str
    parent_id: str | None
    role: Role
    digest: str
    inference_id: str | None
    #: keyed hash of the whole history that ends with it; None for turns of older versions
    path: str | None = None
    #: whether it came here because its history did, and not by the conversation's name
    joined: bool = False


def open_conversation(conn: sa.Connection, opened: StoredConversation, source: str) -> bool:
    """Store a conversation unless it is stored; return whether it was new."""
    return insert_new(
        conn, conversations,
        {"id": opened.id, "owner": opened.owner, "customer": opened.customer, "public_hash": opened.public_hash,
         "made_id": opened.made_id, "source": source, "created_at": now(conn)},
    )  # fmt: skip


def find(conn: sa.Connection, conversation_id: str) -> StoredConversation | None:
    return find_many(conn, [conversation_id]).get(conversation_id)


def find_many(conn: sa.Connection, conversation_ids: Sequence[str]) -> dict[str, StoredConversation]:
    """Return those of the conversations that are stored, by id."""
    query = sa.select(conversations).where(conversations.c.id.in_(list(conversation_ids)))
    return {row.id: _opened(row) for row in conn.execute(query)}


def named(conn: sa.Connection, public_hash: str) -> list[StoredConversation]:
    """Return the conversations of all owners that have one public id."""
    query = sa.select(conversations).where(conversations.c.public_hash == public_hash).order_by(conversations.c.id)
    return [_opened(row) for row in conn.execute(query)]


def nodes(conn: sa.Connection, conversation_id: str) -> list[Node]:
    """Return the conversation's stored turns, oldest first."""
    query = (
        sa.select(chat_turns)
        .where(chat_turns.c.conversation_id == conversation_id)
        .order_by(chat_turns.c.created_at, chat_turns.c.id)
    )
    return [
        Node(r.id, r.parent_id, r.role, r.digest, r.inference_id, r.path, bool(r.joined)) for r in conn.execute(query)
    ]


def ending_with(conn: sa.Connection, path: str, turns: int, since: datetime, most: int = 20) -> str | None:
    """Return the made id of the conversation whose whole history is this path, of so many turns.

    Of several it is the one written last; conversations that a client named are left out. The path's last turn must be
    stored since a time. Of those that have the path, the latest `most` are looked at.
    """
    ends = sa.select(chat_turns.c.conversation_id).where(chat_turns.c.path == path, chat_turns.c.created_at >= since)
    for found in conn.execute(ends.order_by(chat_turns.c.created_at.desc(), chat_turns.c.id).limit(most)).scalars():
        more = sa.select(chat_turns.c.id).where(chat_turns.c.conversation_id == found).limit(turns + 1)
        opened = find(conn, found)
        if opened is not None and opened.made_id and len(conn.execute(more).all()) == turns:
            return opened.made_id
    return None


def add_node(conn: sa.Connection, conversation_id: str, node: Node) -> None:
    conn.execute(
        sa.insert(chat_turns),
        {"id": node.id, "conversation_id": conversation_id, "parent_id": node.parent_id, "role": node.role,
         "digest": node.digest, "inference_id": node.inference_id, "path": node.path, "joined": int(node.joined),
         "created_at": now(conn)},
    )  # fmt: skip


def customers(conn: sa.Connection, conversation_ids: list[str]) -> dict[str, str | None]:
    """Return the hash of each stored conversation's customer, by conversation."""
    query = sa.select(conversations.c.id, conversations.c.customer).where(conversations.c.id.in_(conversation_ids))
    return {row.id: row.customer for row in conn.execute(query)}


def of_customer(conn: sa.Connection, customer: str) -> list[str]:
    """Return the ids of a customer's conversations."""
    query = sa.select(conversations.c.id).where(conversations.c.customer == customer).order_by(conversations.c.id)
    return list(conn.execute(query).scalars())


def _opened(row: sa.Row[Any]) -> StoredConversation:
    return StoredConversation(row.id, row.owner, row.customer, row.public_hash, row.made_id)


def erase(conn: sa.Connection, ids: Sequence[str]) -> int:
    """Delete conversations with their tree of turns; return the number of turns."""
    count = conn.execute(sa.delete(chat_turns).where(chat_turns.c.conversation_id.in_(list(ids)))).rowcount
    conn.execute(sa.delete(conversations).where(conversations.c.id.in_(list(ids))))
    return count
