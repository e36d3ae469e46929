"""Clusters of near-duplicate turns: the signature of each one's first turn, and the bands it is found by."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from shoptalk.store.database import now
from shoptalk.store.schema import near_bands, near_clusters


def candidates(conn: sa.Connection, role: str, bands: Sequence[str]) -> dict[str, bytes]:
    """Return the signatures of clusters of this role's turns that share a band, by cluster."""
    query = (
        sa.select(near_clusters.c.id, near_clusters.c.signature)
        .join(near_bands, near_bands.c.cluster_id == near_clusters.c.id)
        .where(near_bands.c.role == role, near_bands.c.band.in_(list(bands)))
        .distinct()
    )
    return {row.id: row.signature for row in conn.execute(query)}


def found(conn: sa.Connection, cluster_id: str, role: str, signature: bytes, bands: Sequence[str]) -> None:
    """Store a new cluster with its first turn's signature and bands."""
    conn.execute(sa.insert(near_clusters), {"id": cluster_id, "signature": signature, "created_at": now(conn)})
    conn.execute(sa.insert(near_bands), [{"role": role, "band": band, "cluster_id": cluster_id} for band in bands])


def erase(conn: sa.Connection, ids: Sequence[str]) -> int:
    conn.execute(sa.delete(near_bands).where(near_bands.c.cluster_id.in_(list(ids))))
    return conn.execute(sa.delete(near_clusters).where(near_clusters.c.id.in_(list(ids)))).rowcount
