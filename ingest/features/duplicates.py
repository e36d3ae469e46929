"""Puts near-duplicate turns into clusters. Knows neither embeddings nor who reads the clusters.

A cluster holds the near-duplicates of its first turn, so clusters neither merge nor drift, and a turn's cluster never
changes. Customers' messages and replies have separate clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import sqlalchemy as sa

from shoptalk.domain import Turn, new_id
from shoptalk.minhash import ALIKE, Signature, bands, similarity
from shoptalk.store.database import exclusively
from shoptalk.store.ingest import clusters

LOCK: Final = "near duplicates"


def assign_clusters(conn: sa.Connection, turns: Sequence[tuple[Turn, Signature]]) -> dict[str, str]:
    """Return the cluster of each turn, by turn id; begin those that are missing."""
    exclusively(conn, LOCK)  # two that see a new text at once must agree
    return {turn.id: _cluster(conn, turn.role, signature) for turn, signature in turns}


def _cluster(conn: sa.Connection, role: str, signature: Signature) -> str:
    parts = bands(signature)
    known = clusters.candidates(conn, role, parts)
    near = {id: similarity(np.frombuffer(raw, dtype="<u4"), signature) for id, raw in known.items()}
    best = max(near, key=lambda id: (near[id], id), default=None)
    if best is not None and near[best] >= ALIKE:
        return best
    made = new_id("clu")
    clusters.found(conn, made, role, signature.astype("<u4").tobytes(), parts)
    return made
