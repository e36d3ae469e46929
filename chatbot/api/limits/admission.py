"""What the limits know of one request: whence it comes, in which lane it is, what it holds and what it pays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from fastapi import Request

from chatbot.api.limits.buckets import Taken
from chatbot.engine.protocol import Lane


@dataclass(slots=True)
class Admission:
    """`address` is what limits count by. `key` is the hash of the API key that was sent."""

    address: str
    lane: Lane = "visitors"
    key: str | None = None
    attempts: bool = False  # counted as a wrong key until it turns out to be right
    told: list[Taken] = field(default_factory=list)  # for the answer's headers
    pays: list[Callable[[float], None]] = field(default_factory=list)
    leaves: list[Callable[[], None]] = field(default_factory=list)

    def pay(self, tokens: float) -> None:
        """What the reply took, prompt and all."""
        for charge in self.pays:
            charge(tokens)

    def leave(self) -> None:
        """The answer is over."""
        for leave in self.leaves:
            leave()
        self.leaves.clear()


def admission_of(request: Request) -> Admission:
    """As the gate made it."""
    return cast(Admission, request.state.admission)
