"""The two windows that monitoring compares, as conversations. Reads the store; judges nothing.

Only customers' own conversations with the shop's alias count: no imports, no requests for an exact adapter version, no
tests. They are in the order in which they began to be admitted. The reference is pinned: it is what the adapter that
is served learned from, the latest REFERENCE conversations when its dataset was frozen. For the base model, which
learned nothing here, and for an adapter from before the shop's traffic, it is the first conversations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from shoptalk.domain import AdapterRef, Feedback, Turn
from shoptalk.store import Store, adapters
from shoptalk.store.ingest import conversations, feedback, turns
from shoptalk.store.ingest.conversations import Admitted, Place
from shoptalk.store.training import datasets

REFERENCE: Final = 400  # conversations at most


@dataclass(frozen=True, slots=True)
class Reference:
    """The conversations that others are compared with."""

    #: in words: what was learned from them
    name: str
    ids: Sequence[str]
    #: where those that come after them begin
    end: Place


@dataclass(frozen=True, slots=True)
class EmbeddedConversation:
    """A conversation's turns, and the mean embedding of the customer's messages (L2-normalised, [384])."""

    id: str
    turns: Sequence[Turn]
    embedding: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Windows:
    """The reference window and the current one, and the place of the current one's last conversation."""

    against: str
    reference: Sequence[EmbeddedConversation]
    current: Sequence[EmbeddedConversation]
    end: Place


def find_reference(
    conn: sa.Connection, traffic: str, served: AdapterRef, size: int, most: int = REFERENCE
) -> Reference | None:
    """Return the reference for the adapter that is served, at most so many conversations; None where there are too few.

    `size` is that of the current window.
    """
    adapter = None if served.is_base else adapters.find(conn, served)
    frozen = datasets.find(conn, adapter.dataset_id) if adapter and adapter.dataset_id else None
    if frozen is not None:
        ids = conversations.newest(conn, traffic, most, until=frozen.created_at)[::-1]
        if len(ids) >= size // 2:
            return Reference(f"what {served} learned from", _ids(ids), Place(frozen.created_at, None))
    first = conversations.oldest(conn, traffic, size)
    if len(first) < size // 2:
        return None
    return Reference("the first conversations", _ids(first), first[-1].place)


def read_windows(conn: sa.Connection, reference: Reference, current: Sequence[Admitted], features: str) -> Windows:
    """Return both windows, with embeddings of the version `features`; conversations without one are left out."""
    return Windows(
        reference.name,
        _conversations(conn, reference.ids, features),
        _conversations(conn, _ids(current), features),
        current[-1].place if current else reference.end,
    )


def _ids(found: Sequence[Admitted]) -> list[str]:
    return [item.id for item in found]


def _conversations(conn: sa.Connection, ids: Sequence[str], version: str) -> list[EmbeddedConversation]:
    """Return those of the conversations with at least one embedded message of the customer."""
    found = []
    for conversation_id in ids:
        path = turns.of_conversation(conn, conversation_id)
        wrote = [t.id for t in path if t.role == "user"]
        known = turns.features(conn, version, wrote)
        vectors = [np.frombuffer(f.embedding, dtype="<f4") for f in known.values() if f.embedding]
        if vectors:
            mean = np.mean(vectors, axis=0)
            mean = mean / max(float(np.linalg.norm(mean)), 1e-9)
            found.append(EmbeddedConversation(conversation_id, path, mean.astype(np.float32)))
    return found


def feedback_of(store: Store, conversations: Sequence[EmbeddedConversation]) -> dict[str, list[Feedback]]:
    """Return feedback on the conversations' replies, by inference id."""
    ids = [t.inference_id for c in conversations for t in c.turns if t.inference_id]
    with store.read() as conn:
        return feedback.of_inferences(conn, ids)
