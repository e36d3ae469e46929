"""One request's state in the limits: its address and lane, what it holds, and what it is charged to. Counts nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from fastapi import Request

from chatbot.api.limits.buckets import Taken
from chatbot.engine.protocol import Lane


@dataclass(slots=True)
class Admission:
    """The admission of one request. `address` is the group that limits count by; `key` the hash of the API key sent."""

    address: str
    lane: Lane = "visitors"
    key: str | None = None
    attempts: bool = False  # counted as a wrong key until it turns out to be right
    shown: list[Taken] = field(default_factory=list)  # in the answer's headers
    charges: list[Callable[[float], None]] = field(default_factory=list)
    leaves: list[Callable[[], None]] = field(default_factory=list)

    def pay(self, tokens: float) -> None:
        """Charge the tokens that the reply took, those of the prompt too."""
        for charge in self.charges:
            charge(tokens)

    def leave(self) -> None:
        """Give back what the request holds; the answer is over."""
        for leave in self.leaves:
            leave()
        self.leaves.clear()


def admission_of(request: Request) -> Admission:
    """Return the admission that the gate made for a request."""
    return cast(Admission, request.state.admission)
