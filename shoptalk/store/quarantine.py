"""What could not be admitted, and why; bodies are encrypted by the caller."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from shoptalk.domain import now
from shoptalk.store.database import insert_new
from shoptalk.store.tables import quarantine as t

OWNER: Final = "ingest"


def add(conn: sa.Connection, id: str, kind: str, conversation_id: str | None, reason: str, body: bytes | None) -> bool:
    """Says whether it was new."""
    values = {"id": id, "kind": kind, "conversation_id": conversation_id, "reason": reason[:400], "body": body}
    return insert_new(conn, t, {**values, "created_at": now()})


def reasons(conn: sa.Connection) -> dict[str, int]:
    rows = conn.execute(sa.select(t.c.reason, sa.func.count()).group_by(t.c.reason))
    return {reason: n for reason, n in rows}
