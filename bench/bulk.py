"""Stores of any size, made by bulk insertion: conversations of two turns each, with everything that follows them.

Rows are what admission, features and feedback would have written for a shop of this age; only the texts are alike.
Times are spread evenly over the last 180 days.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa

from ingest.features.computer import COMPLETE
from shoptalk.domain import AdapterRef
from shoptalk.store import Store, cursors, schema, totals
from shoptalk.store.ingest import conversations, topics
from shoptalk.store.ingest.topics import TopicModel
from shoptalk.store.ingest.turns import FEATURES

DAYS = 180
PART = 5_000  # conversations inserted together
TOPICS = 40
CUSTOMERS = 5  # conversations of one customer
ASKED = (
    "Where is my order {}?",
    "Can I send {} back?",
    "Is {} in stock?",
    "My {} arrived broken.",
    "Cancel {} please.",
)
SAID = ("Order {} is on its way.", "You can return {} within 30 days.", "Yes, we have {}.", "We will replace {}.",
        "I have cancelled {}.")  # fmt: skip


def grow(
    store: Store,
    count: int,
    labelled: int = 0,
    dimensions: int = 384,
    customer: Callable[[int], str] = "cus_{:060x}".format,
    done: Callable[[int], None] = lambda _: None,
) -> None:
    """Add `count` conversations to an empty store; the last `labelled` of them have a sample and a label.

    `customer` returns the stored form of a customer's id.
    """
    vectors = _vectors(dimensions)
    for first in range(0, count, PART):
        rows = _rows(range(first, min(count, first + PART)), count, labelled, store.now(), vectors, customer)
        with store.write() as conn:
            for table, values in rows.items():
                if values:
                    conn.execute(sa.insert(table), values)
        done(min(count, first + PART))
    with store.write() as conn:
        centroids = vectors[:TOPICS].astype("<f4").tobytes()
        topics.add_model(
            conn, TopicModel("top_1", FEATURES, TOPICS, count, centroids, list(range(TOPICS)), store.now())
        )
        cursors.put(conn, f"features {FEATURES}", COMPLETE)
        totals.recount(conn)
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.exec_driver_sql("analyze")


def _vectors(dimensions: int) -> Any:
    rows = np.random.default_rng(0).normal(size=(1000, dimensions)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _rows(
    numbers: range, count: int, labelled: int, now: datetime, vectors: Any, customer: Callable[[int], str]
) -> Mapping[sa.Table, list[dict[str, Any]]]:
    found: dict[sa.Table, list[dict[str, Any]]] = {
        table: []
        for table in (
            schema.conversations, schema.chat_turns, schema.inferences, schema.turns, schema.turn_features,
            schema.near_clusters, schema.near_bands, schema.turn_topics, schema.admitted_conversations,
            schema.pii_counts, schema.feedback, schema.samples, schema.labels,
        )
    }  # fmt: skip
    for n in numbers:
        at = now - timedelta(days=DAYS) * (1 - (n + 1) / (count + 1))
        for table, row in _conversation(n, at, vectors, customer(n // CUSTOMERS), n >= count - labelled):
            found[table].append(row)
    return found


def _conversation(
    n: int, at: datetime, vectors: Any, customer: str, labelled: bool
) -> Iterator[tuple[sa.Table, dict[str, Any]]]:
    con, inf = f"con_{n:032x}", f"inf_{n:032x}"
    asked, said, version = f"trn_{2 * n:032x}", f"trn_{2 * n + 1:032x}", n * 4 // 1_000_000
    kind = n % len(ASKED)
    yield schema.conversations, {
        "id": con, "owner": "storefront", "public_hash": f"pub_{n:060x}", "customer": customer, "source": "chat",
        "created_at": at,
    }  # fmt: skip
    yield schema.inferences, {
        "id": inf, "conversation_id": con, "alias": "shop", "adapter": str(AdapterRef("shop", version)),
        "variant": "live", "propensity": 1.0, "prompt_tokens": 90, "completion_tokens": 30, "ttft_ms": 50.0,
        "latency_ms": 700.0, "finish_reason": "stop", "mean_logprob": -0.1 * (n % 17), "created_at": at,
    }  # fmt: skip
    yield schema.admitted_conversations, {
        "conversation_id": con, "traffic": conversations.customers_of("shop"), "admitted_at": at
    }  # fmt: skip
    for i, (turn, role, text) in enumerate(((asked, "user", ASKED[kind]), (said, "assistant", SAID[kind]))):
        number, parent, by = 2 * n + i, asked if i else None, inf if i else None
        yield schema.chat_turns, {
            "id": turn, "conversation_id": con, "parent_id": parent, "role": role, "digest": f"{number:064x}",
            "inference_id": by, "created_at": at,
        }  # fmt: skip
        yield schema.turns, {
            "id": turn, "seq": n + 1, "conversation_id": con, "parent_id": parent, "role": role,
            "text": text.format(n), "inference_id": by, "content_hash": f"{number:064x}", "at": at, "admitted_at": at,
            "customer": customer, "reason": None,
        }  # fmt: skip
        yield schema.turn_features, {
            "turn_id": turn, "version": FEATURES, "characters": 20, "words": 5, "refusal": 0, "language": "en",
            "embedding": vectors[number * 7919 % 1000].astype("<f4").tobytes(), "sentiment": 0.1, "mean_logprob": None,
            "cluster_id": f"clu_{role[0]}{number % 50_000:031x}",
        }  # fmt: skip
    if n < 25_000:
        for role in ("user", "assistant"):
            cluster = f"clu_{role[0]}{2 * n + (role == 'assistant'):031x}"
            yield schema.near_clusters, {"id": cluster, "signature": bytes(512), "created_at": at}
            for band in range(16):
                yield schema.near_bands, {"role": role, "band": f"{band:02}{n:012x}", "cluster_id": cluster}
    yield schema.turn_topics, {"turn_id": asked, "topic": n % TOPICS}
    yield schema.pii_counts, {
        "subject": inf, "type": "ORDER_ID", "count": 1, "conversation_id": con, "scrubber": "1"
    }  # fmt: skip
    if n % 10 == 0:
        yield schema.feedback, {
            "id": f"fbk_{n:032x}", "conversation_id": con, "inference_id": inf, "metric": "thumbs",
            "value": float(n % 3 > 0), "comment": None, "created_at": at,
        }  # fmt: skip
    if labelled:
        yield schema.samples, {
            "id": f"smp_{n:032x}", "turn_id": said, "conversation_id": con, "round_id": "rnd_0",
            "inclusion_probability": 0.1, "strategy": "usefulness", "task_id": n, "created_at": at,
        }  # fmt: skip
        yield schema.labels, {
            "id": f"lbl_{n:032x}", "sample_id": f"smp_{n:032x}", "turn_id": said, "conversation_id": con,
            "verdict": ("good", "fixable", "bad")[n % 3], "reply": SAID[kind].format(n) if n % 3 < 2 else None,
            "rating": None, "intent": None, "flags": [], "annotators": 1, "agreement": None, "updated_at": at,
        }  # fmt: skip
