"""Finds conversations by the ids that clients give them. The ids of different owners never meet.

The stored id is a keyed hash of owner and public id. Before there were owners it was a hash of the public id alone.
Such a conversation is still found, by its owner only. Another owner that uses the same id gets a conversation of its
own, and cannot see whether the id is in use elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from shoptalk.crypto import Secrets
from shoptalk.store import erasures
from shoptalk.store.chat import chats


def stored_ids(conn: sa.Connection, secrets: Secrets, public_ids: Sequence[str], owner: str) -> list[str]:
    """Return the stored id of each of an owner's public ids, whether there is such a conversation or not."""
    former = [secrets.public_conversation(public) for public in public_ids]
    known = chats.find_many(conn, former)
    return [
        old if (opened := known.get(old)) is not None and opened.owner == owner else secrets.conversation(public, owner)
        for public, old in zip(public_ids, former, strict=True)
    ]


def stored_id(conn: sa.Connection, secrets: Secrets, public_id: str, owner: str) -> str:
    return stored_ids(conn, secrets, [public_id], owner)[0]


def erased(conn: sa.Connection, secrets: Secrets, public_id: str, owner: str) -> bool:
    """Return whether this owner's conversation was erased. Tombstones from before there were owners count for all."""
    former = secrets.public_conversation(public_id)
    mine = [tombstone(secrets, id, owner) for id in (former, secrets.conversation(public_id, owner))]
    return erasures.buried(conn, [*mine, secrets.tombstone(former)])


def erased_on_its_way(conn: sa.Connection, secrets: Secrets, conversation: str) -> bool:
    """Return whether a conversation was erased of which something is only now admitted."""
    return erasures.buried(conn, [tombstone(secrets, conversation), secrets.tombstone(conversation)])


def tombstone(secrets: Secrets, conversation: str, owner: str = "") -> str:
    """Return a conversation's tombstone for what its owner sends again; without owner, for what is in the inbox."""
    return secrets.tombstone(f"{owner}\0{conversation}")
