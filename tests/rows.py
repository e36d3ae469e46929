"""Rows that tests make, or look at where the program does not."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from shoptalk.domain import Inference, Turn
from shoptalk.store import schema
from shoptalk.store.ingest import turns


def newest_turns(conn: sa.Connection) -> list[Turn]:
    """Return all admitted turns, newest first."""
    query = sa.select(schema.turns.c.id).order_by(schema.turns.c.seq.desc(), schema.turns.c.id)
    ids = list(conn.execute(query).scalars())
    found = turns.many(conn, ids)
    return [found[id] for id in ids]


def inference(id: str, conversation: str, at: datetime, **changes: Any) -> Inference:
    """Return an ordinary reply by `shop@v1`, with these fields changed."""
    usual: dict[str, Any] = {
        "alias": "shop", "adapter": "shop@v1", "variant": "live", "propensity": 1.0, "prompt_tokens": 5,
        "completion_tokens": 5, "ttft_ms": 1.0, "latency_ms": 2.0, "finish_reason": "stop", "mean_logprob": -0.5,
    }  # fmt: skip
    return Inference(id=id, conversation_id=conversation, created_at=at, **(usual | changes))
