"""Clients whose texts had to be ended wait longer each time: 1 s, 2 s, 4 s, at most ten minutes. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from chatbot.api.limits.bounded import Bounded

FIRST_S: Final = 1.0
LONGEST_S: Final = 600.0
FORGIVEN_S: Final = 600.0  # one offence is forgiven for each such time without another
MOST: Final = 50_000


@dataclass(frozen=True, slots=True)
class Offences:
    """How often, until when the client waits, and when the last was."""

    count: int
    until: float
    last: float


class Penalties:
    """By client's name."""

    def __init__(self, clock: Callable[[], float], most: int = MOST) -> None:
        self._clock = clock
        self._known: Bounded[Offences] = Bounded(most)

    def add(self, name: str, free: int = 0) -> float:
        """One more offence; returns how long the client waits now. The first `free` cost nothing."""
        now, before = self._clock(), self._known.get(name)
        count = 1
        if before is not None:
            count += max(0, before.count - int(max(0.0, now - before.last) // FORGIVEN_S))
        wait = min(LONGEST_S, FIRST_S * 2.0 ** min(count - free - 1, 32)) if count > free else 0.0
        self._known.put(name, Offences(count, now + wait, now))
        return wait

    def wait_s(self, name: str) -> float:
        """How long the client must still wait."""
        known = self._known.get(name)
        return max(0.0, known.until - self._clock()) if known else 0.0
