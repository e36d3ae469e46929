"""API keys. Of their secrets only hashes are stored."""

from __future__ import annotations

from dataclasses import asdict

import sqlalchemy as sa

from shoptalk.domain import ApiKey, KeyLimits, Scope
from shoptalk.store.database import now
from shoptalk.store.schema import api_keys as t


def add(conn: sa.Connection, key: ApiKey, sha256: str) -> None:
    values = {"id": key.id, "name": key.name, "sha256": sha256, "created_at": key.created_at, "owner": key.owner}
    conn.execute(sa.insert(t).values(**values, scopes=sorted(key.scopes), limits=asdict(key.limits)))


def revoke(conn: sa.Connection, key_id: str) -> bool:
    """Take a key out of use; return whether there is such a key."""
    result = conn.execute(sa.update(t).where(t.c.id == key_id).values(revoked_at=now(conn)))
    return bool(result.rowcount)


def by_hash(conn: sa.Connection, sha256: str) -> ApiKey | None:
    """Return the key whose secret has this hash and that was not revoked."""
    row = conn.execute(sa.select(t).where(t.c.sha256 == sha256, t.c.revoked_at.is_(None))).first()
    return _key(row) if row else None


def find(conn: sa.Connection, key_id: str) -> ApiKey | None:
    """Return a key that was not revoked."""
    row = conn.execute(sa.select(t).where(t.c.id == key_id, t.c.revoked_at.is_(None))).first()
    return _key(row) if row else None


def hashes(conn: sa.Connection) -> list[str]:
    """Return the hashes of the secrets of all keys in use."""
    return list(conn.execute(sa.select(t.c.sha256).where(t.c.revoked_at.is_(None))).scalars())


def owner_known(conn: sa.Connection, owner: str) -> bool:
    """Return whether any key has this owner, revoked keys too."""
    return conn.execute(sa.select(t.c.id).where(t.c.owner == owner).limit(1)).first() is not None


def everyone(conn: sa.Connection) -> list[ApiKey]:
    """Return all keys, revoked ones too, oldest first."""
    return [_key(row) for row in conn.execute(sa.select(t).order_by(t.c.created_at))]


def _key(row: sa.Row[tuple[object, ...]]) -> ApiKey:
    r = row._mapping
    scopes, limits = frozenset(map(Scope, r["scopes"])), KeyLimits(**(r["limits"] or {}))
    return ApiKey(
        id=r["id"],
        name=r["name"],
        scopes=scopes,
        owner=r["owner"],
        created_at=r["created_at"],
        revoked_at=r["revoked_at"],
        limits=limits,
    )
