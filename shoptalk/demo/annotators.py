"""Scripted annotators: they judge replies against a recorded agent's answer, and write that as the correction.

They see what people see in Label Studio, scrubbed text, and write placeholders as the page asks them to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shoptalk.app.parts import Parts
from shoptalk.demo.conversation import Recorded
from shoptalk.domain import Message
from shoptalk.errors import ScrubbingFailed
from shoptalk.store.chat import chats
from shoptalk.store.labeling import samples

INTENTS = {
    "return_refund": ("return", "refund", "send back", "money back", "exchange"),
    "payment": ("charge", "paid", "pay", "card", "invoice", "price"),
    "shipping": ("ship", "deliver", "courier", "tracking"),
    "order_status": ("where is", "order", "arriv", "cancel"),
    "complaint": ("broken", "disappointed", "missing", "damaged", "worst"),
    "product_question": ("warranty", "stock", "size", "colour", "color"),
}


class Annotators:
    """Scripted annotators, who know which recorded conversation each task comes from."""

    def __init__(self, parts: Parts, recorded: Sequence[Recorded]) -> None:
        self._parts = parts
        self._by_id = {parts.secrets.public_conversation(r.id): r for r in recorded}

    def decide(self, data: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return an answer as plain data; None to skip a task that is not from a recorded conversation."""
        with self._parts.store.read() as conn:
            sample = samples.find(conn, str(data["sample_id"]))
            stored = chats.find(conn, sample.conversation_id) if sample else None
        recorded = self._by_id.get(stored.public_hash or "") if stored else None
        turn = sum(1 for said in data["dialog"] if said["role"] == "customer") - 1
        if recorded is None or not 0 <= turn < len(recorded.exchanges):
            return None
        wanted = self._as_placeholders(recorded, turn)
        if wanted is None:
            return None
        share = _likeness(str(data["reply"]), wanted)
        asked = recorded.exchanges[turn][0].casefold()
        intent = next((name for name, words in INTENTS.items() if any(w in asked for w in words)), "other")
        verdict = "fixable" if share >= 0.3 else "bad"
        return {"verdict": verdict, "correction": wanted, "rating": 1 + round(3 * share), "intent": intent}

    def _as_placeholders(self, recorded: Recorded, turn: int) -> str | None:
        said = [m for pair in recorded.exchanges[: turn + 1] for m in zip(("user", "assistant"), pair, strict=True)]
        try:
            return self._parts.scrubber.scrub([Message(role, text) for role, text in said]).texts[-1]  # type: ignore[arg-type]
        except ScrubbingFailed:
            return None


def _likeness(one: str, other: str) -> float:
    """Return the share of the other's words that the one has too."""
    ours, theirs = set(one.casefold().split()), set(other.casefold().split())
    return len(ours & theirs) / max(1, len(theirs))
