"""Rows that tests make, or look at where the program does not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from shoptalk.domain import Inference, Label, Sample, Turn
from shoptalk.store import schema
from shoptalk.store.ingest import turns
from shoptalk.store.ingest.conversations import Place
from shoptalk.store.monitoring.drift_checks import DriftCheck


def newest_turns(conn: sa.Connection) -> list[Turn]:
    """Return all admitted turns, newest first."""
    query = sa.select(schema.turns.c.id).order_by(schema.turns.c.seq.desc(), schema.turns.c.id)
    ids = list(conn.execute(query).scalars())
    found = turns.many(conn, ids)
    return [found[id] for id in ids]


def number(conn: sa.Connection, table: sa.Table) -> int:
    """Return how many rows a table has."""
    return conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def inference(id: str, conversation: str, at: datetime, **changes: Any) -> Inference:
    """Return an ordinary reply by `shop@v1`, with these fields changed."""
    usual: dict[str, Any] = {
        "alias": "shop", "adapter": "shop@v1", "variant": "live", "propensity": 1.0, "prompt_tokens": 5,
        "completion_tokens": 5, "ttft_ms": 1.0, "latency_ms": 2.0, "finish_reason": "stop", "mean_logprob": -0.5,
    }  # fmt: skip
    return Inference(id=id, conversation_id=conversation, created_at=at, **(usual | changes))


def drift_check(id: str, p_value: float, at: datetime, **changes: Any) -> DriftCheck:
    """Return a look for drift, with these fields changed."""
    usual: dict[str, Any] = {
        "statistic": 0.02, "against": "the first conversations", "reference": 400, "current": 200, "asked": False,
        "end": Place(at, f"con_{id}"), "report_id": None,
    }  # fmt: skip
    return DriftCheck(**{**usual, **changes, "id": id, "p_value": p_value, "created_at": at})


def sample(id: str, **changes: Any) -> Sample:
    """Return a sample of a reply of its own, with these fields changed."""
    usual: dict[str, Any] = {
        "turn_id": f"turn {id}", "conversation_id": f"con_{id}", "round_id": "rnd_1", "inclusion_probability": 0.5,
        "strategy": "usefulness",
    }  # fmt: skip
    return Sample(**{**usual, **changes, "id": id})


def label(name: str, **changes: Any) -> Label:
    """Return the label of a sample of its own, with these fields changed."""
    usual: dict[str, Any] = {
        "sample_id": f"smp_{name}", "turn_id": f"trn_{name}", "conversation_id": f"con_{name}", "verdict": "good",
        "reply": "Yes.", "rating": None, "intent": None, "flags": (), "annotators": 1, "agreement": None,
        "updated_at": datetime(2026, 1, 1, tzinfo=UTC),
    }  # fmt: skip
    return Label(**{**usual, **changes, "id": f"lbl_{name}"})
