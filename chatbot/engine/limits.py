"""How much an engine takes on: its batch, its queue, its context. Knows no model and no request."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chatbot.engine.protocol import Lane
from shoptalk.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How many requests may wait, and the visitors' share of batch and queue; see `shoptalk.settings`."""

    batch: int
    queue: int
    visitors: float = 0.5
    visitor_wait_s: float = 30.0

    @property
    def visitor_sequences(self) -> int:
        """Visitors' sequences that the batch may hold."""
        return max(1, int(self.batch * self.visitors))

    @property
    def visitor_queue(self) -> int:
        """Visitors' requests that may wait."""
        return max(1, int(self.queue * self.visitors))

    def retry_after(self, lane: Lane, waiting: int, visitors: int, reply_s: float) -> float | None:
        """Return the seconds to wait before trying again where one more request of a lane is too many, else None.

        `waiting` requests wait in all, `visitors` of them in the visitors' lane; a reply of this lane takes `reply_s`
        seconds.
        """
        if lane == "visitors":
            wait_s = reply_s * visitors / self.visitor_sequences
            if visitors >= self.visitor_queue or wait_s > self.visitor_wait_s:
                return max(1.0, reply_s / self.visitor_sequences, wait_s - self.visitor_wait_s)
        return max(1.0, reply_s * waiting / self.batch) if waiting >= self.queue else None


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """How much the embedded engine takes on."""

    max_batch: int
    max_context: int  # tokens of prompt and reply
    max_queue: int
    slots: int  # adapters that are resident
    max_rank: int
    threads: int  # 0: as many as turn out fastest
    background: bool = False  # run only when nobody else wants the processor
    prefill_chunk: int = 128  # tokens of prompts computed in one pass, at most
    prefix_bytes: int = 2**29  # of finished requests' KV caches
    visitors: float = 0.5  # their share of batch and queue
    visitor_wait_s: float = 30.0  # a visitor who would wait longer is refused
    kernels: Path | None = None  # folder for compiled kernels

    @property
    def queue(self) -> QueueLimits:
        return QueueLimits(self.max_batch, self.max_queue, self.visitors, self.visitor_wait_s)


def context_exceeded(max_context: int, prompt: int) -> InvalidInput:
    """Return the error for a prompt of `prompt` tokens, which a context of `max_context` does not hold."""
    return InvalidInput(
        f"This model's maximum context length is {max_context} tokens; your messages have {prompt}. Shorten them.",
        field="messages",
        code="context_length_exceeded",
    )
