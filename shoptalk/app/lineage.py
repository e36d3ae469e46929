"""Follows an id back to where it comes from, and repeats the gate's decision from its recorded evidence."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from shoptalk.app.parts import Parts
from shoptalk.app.rounds import judge_again
from shoptalk.domain import AdapterRef
from shoptalk.errors import NotFound
from shoptalk.store import adapters
from shoptalk.store.chat import chats, inferences, releases
from shoptalk.store.database import in_chunks
from shoptalk.store.training import datasets, evaluations, runs


def trace(parts: Parts, id: str) -> dict[str, Any]:
    """Return where an adapter version, dataset, evaluation, release or inference comes from; raise NotFound."""
    with parts.store.read() as conn:
        if "@v" in id:
            return _adapter(conn, id)
        if found := inferences.find(conn, id):
            return {"inference": id, "conversation": found.conversation_id, **_adapter(conn, found.adapter)}
        if dataset := datasets.find(conn, id):
            return _dataset(conn, dataset.id)
        if evaluation := evaluations.find(conn, id):
            return _adapter(conn, evaluation.adapter)
        if release := releases.find(conn, id):
            events = [f"{e.created_at:%Y-%m-%d %H:%M:%S} {e.move} by {e.actor}" for e in releases.events(conn, 50, id)]
            return {"release": id, "events": events, **_adapter(conn, release.adapter)}
    raise NotFound(f"nothing here has the id '{id[:80]}'")


def _adapter(conn: sa.Connection, name: str) -> dict[str, Any]:
    try:
        ref = AdapterRef.parse(name)
    except ValueError as error:
        raise NotFound(str(error)) from None
    if ref.is_base:
        return {"adapter": name, "weights": "the base model alone"}
    adapter = adapters.find(conn, ref)
    if adapter is None:
        raise NotFound(f"there is no adapter {name}")
    run = runs.find(conn, adapter.run_id) if adapter.run_id else None
    found: dict[str, Any] = {
        "adapter": name,
        "weights": adapter.weights_sha256,
        "base": adapter.base_sha256,
        "run": adapter.run_id,
        "recipe": dict(run.config) if run else None,
    }
    if adapter.dataset_id:
        found |= _dataset(conn, adapter.dataset_id)
    if evaluation := evaluations.newest_of(conn, name):
        again = judge_again(evaluation)
        found |= {
            "evaluation": evaluation.id,
            "verdict": evaluation.verdict.value,
            "reasons": list(evaluation.reasons),
            "judged again": again.verdict.value,
        }
    return found


def _dataset(conn: sa.Connection, dataset_id: str) -> dict[str, Any]:
    dataset = datasets.find(conn, dataset_id)
    if dataset is None:
        return {"dataset": dataset_id}
    conversations = datasets.conversations_of(conn, dataset_id)
    customers = {c for part in in_chunks(conversations) for c in chats.customers(conn, part).values() if c}
    return {
        "dataset": dataset_id,
        "examples": f"{dataset.train} to train on, {dataset.holdout} held out",
        "conversations": len(conversations),
        "customers": len(customers),
        "round": dataset.round_id,
    }
