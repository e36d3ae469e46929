"""Labelled conversations as rows, for the tests of training."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

from shoptalk.domain import Example, Label, Message, Turn
from shoptalk.store import Store
from shoptalk.store.chat import chats
from shoptalk.store.ingest import turns
from shoptalk.store.labeling import labels

T0 = datetime(2026, 1, 1, tzinfo=UTC)
PROMPT = "You are the assistant of a shop."


def add_label(
    store: Store,
    name: str,
    *,
    customer: str | None = None,
    question: str | None = None,
    reply: str | None = "default",
    flags: tuple[str, ...] = (),
    shown: str | None = "Shown by the bot.",
) -> None:
    """One conversation: a question, the bot's reply, and what annotators made of it."""
    conversation = f"con_{name}"
    question = f"Where is my order number {name}?" if question is None else question
    reply = f"Order {name} is on its way." if reply == "default" else reply
    with store.write() as conn:
        chats.open_conversation(conn, chats.StoredConversation(conversation, "key_1", customer), "chat")
        seq = turns.last_seq(conn)
        parent = None
        for role, text in (("user", question), ("assistant", shown)):
            turn_id = f"{name}_{role}"
            at = T0 + timedelta(minutes=seq)
            seq += 1
            turn = Turn(
                id=turn_id,
                conversation_id=conversation,
                parent_id=parent,
                role=role,
                text=text,
                at=at,
                inference_id=None,
                reason=None if text else "scrubbing failed",
            )  # type: ignore[arg-type]
            turns.add(conn, turn, seq, hashlib.sha256((text or "").encode()).hexdigest())
            parent = turn_id
        labels.put(
            conn,
            Label(
                id=f"lbl_{name}",
                sample_id=f"smp_{name}",
                turn_id=f"{name}_assistant",
                conversation_id=conversation,
                verdict="good" if reply == shown else "fixable",
                reply=reply,
                rating=5,
                intent=None,
                flags=flags,
                annotators=1,
                agreement=None,
                updated_at=T0,
            ),
        )


def example(n: int, group: str | None = None, text: str | None = None) -> Example:
    messages = (Message("system", PROMPT), Message("user", text or f"Where is order {n}?"))
    return Example(
        label_id=f"lbl_{n}",
        conversation_id=f"con_{n}",
        group=group or f"cus_{n}",
        messages=messages,
        reply=f"Order {n} is on its way.",
    )
