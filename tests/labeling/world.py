"""Rows for labelling tests, inserted through the store as other stages would."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from shoptalk.domain import Feedback, FeedbackMetric, Inference, Sample, Turn, new_id
from shoptalk.errors import ScrubbingFailed
from shoptalk.store.chat import inferences
from shoptalk.store.database import Store
from shoptalk.store.ingest import feedback, turns
from shoptalk.store.labeling import samples

START = datetime(2026, 1, 1, tzinfo=UTC)
EMAIL = re.compile(r"[\w.]+@[\w.]+\w")


def add_conversation(
    store: Store, name: str, exchanges: Sequence[tuple[str, str]], *, logprob: float = -0.5
) -> list[str]:
    """A chain of customer messages and bot replies; returns the replies' turn ids."""
    replies: list[str] = []
    parent: str | None = None
    with store.write() as conn:
        seq = turns.last_seq(conn)
        for n, (question, reply) in enumerate(exchanges):
            at = START + timedelta(minutes=seq + 2 * n)
            inference = Inference(
                id=f"inf_{name}_{n}",
                conversation_id=name,
                alias="shop",
                adapter="shop@v1",
                variant="champion",
                propensity=1.0,
                prompt_tokens=10,
                completion_tokens=5,
                ttft_ms=1.0,
                latency_ms=2.0,
                finish_reason="stop",
                mean_logprob=logprob,
                created_at=at,
            )
            inferences.add(conn, inference)
            for role, text, made_by in (("user", question, None), ("assistant", reply, inference.id)):
                turn = Turn(
                    id=f"turn_{name}_{n}_{role}",
                    conversation_id=name,
                    parent_id=parent,
                    role=role,
                    text=text,
                    at=at,
                    inference_id=made_by,
                )  # type: ignore[arg-type]
                seq += 1
                turns.add(conn, turn, seq, hashlib.sha256(text.encode()).hexdigest())
                parent = turn.id
            replies.append(parent or "")
    return replies


def add_feedback(store: Store, conversation: str, inference: str | None, metric: FeedbackMetric, value: float) -> None:
    with store.write() as conn:
        feedback.add(
            conn,
            Feedback(
                id=new_id("fb"),
                conversation_id=conversation,
                inference_id=inference,
                metric=metric,
                value=value,
                comment=None,
                created_at=START,
            ),
        )


def add_samples(store: Store, count: int, round_id: str = "round_1", prefix: str = "c") -> list[Sample]:
    """That many conversations, each with its one reply sampled."""
    made = []
    for i in range(count):
        (turn,) = add_conversation(
            store,
            f"{prefix}{i}",
            [(f"Where is order <ORDER_ID_1>? ({i})", f"Your order <ORDER_ID_1> ships soon. ({i})")],
        )
        made.append(
            Sample(
                id=f"smp_{prefix}{i}",
                turn_id=turn,
                conversation_id=f"{prefix}{i}",
                round_id=round_id,
                inclusion_probability=0.5,
                strategy="usefulness",
            )
        )
    with store.write() as conn:
        for item in made:
            samples.add(conn, item)
    return made


def scrub_emails(history: Sequence[str], text: str) -> tuple[str, Mapping[str, int]]:
    """A stand-in for the real scrubber: knows e-mail addresses, and fails on a text that says UNSCANNABLE."""
    if "UNSCANNABLE" in text:
        raise ScrubbingFailed
    clean, n = EMAIL.subn("<EMAIL_1>", text)
    return clean, {"EMAIL": n} if n else {}
