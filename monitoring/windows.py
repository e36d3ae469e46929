"""The two windows monitoring compares, conversation by conversation. Reads rows; judges nothing.

Conversations are taken in the order of their latest turns. Of those first admitted before the newest dataset was
frozen the latest REFERENCE are the reference, of those after it the latest make the current window. Before a first
dataset the latest are the current window, those before them the reference.
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
class Conversation:
    """One conversation's turns, and the mean embedding of what the customer wrote (L2-normalised, [384])."""

    id: str
    turns: Sequence[Turn]
    embedding: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Windows:
    """`until` is the newest turn's sequence number."""

    reference: Sequence[Conversation]
    current: Sequence[Conversation]
    until: int


def read_windows(store: Store, size: int, features: str) -> Windows | None:
    """None where there are not enough conversations: `size` in the current window, half of that in the reference."""
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


def _conversations(conn: sa.Connection, ids: Sequence[str], version: str) -> list[Conversation]:
    """Those with at least one embedded message by the customer."""
    found = []
    for conversation_id in ids:
        path = turns.of_conversation(conn, conversation_id)
        wrote = [t.id for t in path if t.role == "user"]
        known = turns.features(conn, version, wrote)
        vectors = [np.frombuffer(f.embedding, dtype="<f4") for f in known.values() if f.embedding]
        if vectors:
            mean = np.mean(vectors, axis=0)
            mean = mean / max(float(np.linalg.norm(mean)), 1e-9)
            found.append(Conversation(conversation_id, path, mean.astype(np.float32)))
    return found


def feedback_of(store: Store, conversations: Sequence[Conversation]) -> dict[str, list[Feedback]]:
    """Feedback by inference id."""
    ids = [t.inference_id for c in conversations for t in c.turns if t.inference_id]
    with store.read() as conn:
        return feedback.of_inferences(conn, ids)
