"""How often annotations are pulled. Knows neither what a pull does nor how labels come about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from labeling.pull import PullResult
from shoptalk.store import Store, rounds

CALM_S: Final = 60.0


class Puller(Protocol):
    """Pulls what changed."""

    def run_once(self) -> PullResult:
        """Pull once."""
        ...


class SparingPull:
    """Pulls at each call while a round waits for labels, else once a minute: a pull keeps Label Studio busy."""

    def __init__(self, store: Store, pull: Callable[[], Puller], calm_s: float = CALM_S) -> None:
        """`pull` makes the puller when it is first needed; `calm_s` are the seconds between pulls without a round."""
        self._store, self._pull, self._calm = store, pull, calm_s
        self._last = -calm_s

    def run_once(self) -> None:
        """Pull if it is due."""
        machine = self._store.clock.machine
        with self._store.read() as conn:
            waiting = any(r.awaits_labels for r in rounds.unfinished(conn))
        if waiting or machine.monotonic() - self._last >= self._calm:
            self._pull().run_once()
            self._last = machine.monotonic()  # only now: after a failure the worker decides when to try again
