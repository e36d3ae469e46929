"""The registry's rows: one per adapter version, immutable; and marks of adapters trained on what was erased since."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from shoptalk.domain import Adapter, AdapterRef, ErasurePolicy
from shoptalk.store.database import exclusively, insert_new, now
from shoptalk.store.schema import adapter_marks as marks
from shoptalk.store.schema import adapters as t

OWNER: Final = "shoptalk"  # by `shoptalk.models.registry`


@dataclass(frozen=True, slots=True)
class Mark:
    """An adapter that was trained on what was erased since. `policy` says when it is withdrawn."""

    ref: AdapterRef
    erasure_id: str
    policy: ErasurePolicy
    created_at: datetime
    withdrawn_at: datetime | None
    deleted_at: datetime | None


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
    """Return the next version of a name, which no other transaction gets until this one ends.

    Versions start at 1; 0 is the base model.
    """
    exclusively(conn, f"adapters {name}")
    return 1 + (conn.execute(sa.select(sa.func.max(t.c.version)).where(t.c.name == name)).scalar() or 0)


def find(conn: sa.Connection, ref: AdapterRef) -> Adapter | None:
    row = conn.execute(sa.select(t).where(t.c.name == ref.name, t.c.version == ref.version)).first()
    return _adapter(row) if row else None


def of_run(conn: sa.Connection, run_id: str) -> Adapter | None:
    row = conn.execute(sa.select(t).where(t.c.run_id == run_id)).first()
    return _adapter(row) if row else None


def shares(conn: sa.Connection, ref: AdapterRef, sha256: str) -> bool:
    """Return whether an adapter besides this one has the file."""
    query = sa.select(t.c.version).where(sa.or_(t.c.weights_sha256 == sha256, t.c.config_sha256 == sha256))
    others = query.where(sa.or_(t.c.name != ref.name, t.c.version != ref.version))
    return conn.execute(others.limit(1)).first() is not None


def newest(conn: sa.Connection, limit: int) -> list[Adapter]:
    """Return the latest, latest first."""
    query = sa.select(t).order_by(t.c.created_at.desc(), t.c.version.desc()).limit(limit)
    return [_adapter(row) for row in conn.execute(query)]


def _adapter(row: sa.Row[tuple[object, ...]]) -> Adapter:
    r = row._mapping
    return Adapter(
        ref=AdapterRef(r["name"], r["version"]),
        weights_sha256=r["weights_sha256"],
        config_sha256=r["config_sha256"],
        size_bytes=r["size_bytes"],
        rank=r["rank"],
        base_sha256=r["base_sha256"],
        dataset_id=r["dataset_id"],
        run_id=r["run_id"],
        created_at=r["created_at"],
    )


def of_datasets(conn: sa.Connection, dataset_ids: Sequence[str]) -> list[Adapter]:
    query = sa.select(t).where(t.c.dataset_id.in_(list(dataset_ids))).order_by(t.c.created_at, t.c.version)
    return [_adapter(row) for row in conn.execute(query)]


def mark(conn: sa.Connection, ref: AdapterRef, erasure_id: str, policy: ErasurePolicy) -> None:
    """Record that an adapter was trained on what this erasure erased. Policy `now` replaces `when_replaced`."""
    values = {"name": ref.name, "version": ref.version, "erasure_id": erasure_id, "policy": policy}
    if not insert_new(conn, marks, {**values, "created_at": now(conn)}) and policy == "now":
        mine = sa.update(marks).where(marks.c.name == ref.name, marks.c.version == ref.version)
        conn.execute(mine.where(marks.c.policy != "now").values(erasure_id=erasure_id, policy=policy))


def mark_of(conn: sa.Connection, ref: AdapterRef) -> Mark | None:
    row = conn.execute(sa.select(marks).where(marks.c.name == ref.name, marks.c.version == ref.version)).first()
    return _mark(row) if row else None


def open_marks(conn: sa.Connection) -> list[Mark]:
    """Return the marks of adapters whose files are still there, oldest first."""
    query = sa.select(marks).where(marks.c.deleted_at.is_(None))
    return [_mark(row) for row in conn.execute(query.order_by(marks.c.created_at, marks.c.version))]


def withdrawn(conn: sa.Connection, refs: Iterable[AdapterRef]) -> set[AdapterRef]:
    """Return those of the adapters that must not be served any more."""
    found = {ref: mark_of(conn, ref) for ref in refs if not ref.is_base}
    return {ref for ref, mark in found.items() if mark is not None and mark.withdrawn_at is not None}


def marks_of(conn: sa.Connection, erasure_id: str) -> list[Mark]:
    """Return the marks that an erasure made."""
    query = sa.select(marks).where(marks.c.erasure_id == erasure_id)
    return [_mark(row) for row in conn.execute(query.order_by(marks.c.created_at, marks.c.version))]


def withdraw(conn: sa.Connection, ref: AdapterRef) -> None:
    """Record that an adapter must not be loaded any more."""
    mine = sa.update(marks).where(marks.c.name == ref.name, marks.c.version == ref.version)
    conn.execute(mine.where(marks.c.withdrawn_at.is_(None)).values(withdrawn_at=now(conn)))


def deleted(conn: sa.Connection, ref: AdapterRef) -> None:
    """Record that an adapter's files were deleted."""
    mine = sa.update(marks).where(marks.c.name == ref.name, marks.c.version == ref.version)
    conn.execute(mine.values(deleted_at=now(conn)))


def _mark(row: sa.Row[tuple[object, ...]]) -> Mark:
    r = row._mapping
    ref = AdapterRef(r["name"], r["version"])
    return Mark(ref, r["erasure_id"], r["policy"], r["created_at"], r["withdrawn_at"], r["deleted_at"])
