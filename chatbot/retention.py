"""Removes what this stage keeps for a time only: answers to repeated requests, and API processes that are gone."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from shoptalk.store import Store
from shoptalk.store.chat import answers, releases

GONE: Final = timedelta(days=1)  # how long the last report of an API process that ended is kept
MOST: Final = 1000  # rows in one transaction


class ChatRetention:
    """Answers are kept for a client that sends the same request again; see `Idempotency-Key`."""

    name: Final = "answers to repeated requests, and API processes that are gone"

    def __init__(self, store: Store, answers_days: float) -> None:
        self._store, self._kept = store, timedelta(days=answers_days)

    def expired(self) -> int:
        """Return how many rows would be removed, at most 10,000 of a kind."""
        with self._store.read() as conn:
            old = answers.count_before(conn, self._store.now() - self._kept)
            return old + releases.count_silent(conn, GONE)

    def remove(self) -> int:
        """Remove some; return how many."""
        with self._store.write() as conn:
            gone = answers.remove_before(conn, self._store.now() - self._kept, MOST)
            return gone + releases.forget_silent(conn, GONE)
