"""Penalties: a client whose text reached the scrubber's deadline waits, with exponential backoff: 1 s, 2 s, 4 s, ...

At most ten minutes, without jitter. Pure.
"""

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
    """A client's offences: how many, until when it waits, and when the last was."""

    count: int
    until: float
    last: float


class Penalties:
    """Offences by client's name."""

    def __init__(self, clock: Callable[[], float], most: int = MOST) -> None:
        self._clock = clock
        self._known: Bounded[Offences] = Bounded(most)

    def add(self, name: str, free: int = 0) -> float:
        """Count an offence; return how many seconds the client waits now. The first `free` cost nothing."""
        now, before = self._clock(), self._known.get(name)
        count = 1
        if before is not None:
            count += max(0, before.count - int(max(0.0, now - before.last) // FORGIVEN_S))
        wait = min(LONGEST_S, FIRST_S * 2.0 ** min(count - free - 1, 32)) if count > free else 0.0
        self._known.put(name, Offences(count, now + wait, now))
        return wait

    def wait_s(self, name: str) -> float:
        """Return how many seconds the client must still wait."""
        known = self._known.get(name)
        return max(0.0, known.until - self._clock()) if known else 0.0
