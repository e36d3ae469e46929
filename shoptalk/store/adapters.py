"""The registry's rows: one per adapter version, immutable once there."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from shoptalk.domain import Adapter, AdapterRef
from shoptalk.store.database import exclusively
from shoptalk.store.tables import adapters as t

OWNER: Final = "shoptalk"  # by `shoptalk.registry`


def add(conn: sa.Connection, adapter: Adapter) -> None:
    conn.execute(
        sa.insert(t).values(
            name=adapter.ref.name,
            version=adapter.ref.version,
            weights_sha256=adapter.weights_sha256,
            config_sha256=adapter.config_sha256,
            size_bytes=adapter.size_bytes,
            rank=adapter.rank,
            base_sha256=adapter.base_sha256,
            dataset_id=adapter.dataset_id,
            run_id=adapter.run_id,
            created_at=adapter.created_at,
        )
    )


def next_version(conn: sa.Connection, name: str) -> int:
    """Versions start at 1; 0 is the base model. Nobody else is given this one while the transaction lasts."""
    exclusively(conn, f"adapters {name}")
    return 1 + (conn.execute(sa.select(sa.func.max(t.c.version)).where(t.c.name == name)).scalar() or 0)


def find(conn: sa.Connection, ref: AdapterRef) -> Adapter | None:
    row = conn.execute(sa.select(t).where(t.c.name == ref.name, t.c.version == ref.version)).first()
    return _adapter(row) if row else None


def of_run(conn: sa.Connection, run_id: str) -> Adapter | None:
    row = conn.execute(sa.select(t).where(t.c.run_id == run_id)).first()
    return _adapter(row) if row else None


def everything(conn: sa.Connection) -> list[Adapter]:
    return [_adapter(row) for row in conn.execute(sa.select(t).order_by(t.c.created_at, t.c.version))]


def _adapter(row: sa.Row[tuple[object, ...]]) -> Adapter:
    r = row._mapping
    return Adapter(
        AdapterRef(r["name"], r["version"]),
        r["weights_sha256"],
        r["config_sha256"],
        r["size_bytes"],
        r["rank"],
        r["base_sha256"],
        r["dataset_id"],
        r["run_id"],
        r["created_at"],
    )
