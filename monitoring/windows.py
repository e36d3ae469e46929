"""The two windows that monitoring compares, as conversations. Reads the store; judges nothing.

Conversations are ordered by their latest turns. Of those first admitted before the newest dataset was frozen, the
latest REFERENCE are the reference window; of those after it, the latest are the current window. Before there is a
dataset, the latest are the current window and those before them the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from shoptalk.domain import Feedback, Turn
from shoptalk.store import Store
from shoptalk.store.ingest import feedback, turns
from shoptalk.store.training import datasets

REFERENCE = 400  # conversations at most


@dataclass(frozen=True, slots=True)
class EmbeddedConversation:
    """A conversation's turns, and the mean embedding of the customer's messages (L2-normalised, [384])."""

    id: str
    turns: Sequence[Turn]
    embedding: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Windows:
    """The reference window and the current one. `until` is the newest turn's sequence number."""

    reference: Sequence[EmbeddedConversation]
    current: Sequence[EmbeddedConversation]
    until: int


def read_windows(store: Store, size: int, features: str) -> Windows | None:
    """Return both windows, with embeddings of the version `features`.

    None where there are too few conversations: the current window needs `size`, the reference half as many.
    """
    with store.read() as conn:
        if frozen := datasets.newest(conn, 1):
            moment = frozen[0].created_at
            reference = turns.newest_conversations(conn, REFERENCE, admitted_until=moment)[::-1]  # oldest first
            current = turns.newest_conversations(conn, size, admitted_after=moment)[::-1]
        else:
            ids = turns.newest_conversations(conn, REFERENCE + size)[::-1]
            reference, current = ids[:-size], ids[-size:]
        if len(reference) < size // 2 or len(current) < size:
            return None
        until = turns.last_seq(conn)
        return Windows(_conversations(conn, reference, features), _conversations(conn, current, features), until)


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
