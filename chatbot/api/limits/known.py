"""The API keys in use, in memory: an unknown key costs no look-up, and a known one is spared the limits of visitors.

Only decides by which limits a request is counted; whether a key is valid is looked up in the database each time.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio
import anyio.to_thread

from chatbot.keys import known_hashes
from shoptalk.clock import MACHINE
from shoptalk.store import Store

EVERY_S = 1.0


class KnownKeys:
    """The hashes of all keys in use, read again when an unknown one comes, once a second at most."""

    def __init__(self, store: Store, clock: Callable[[], float] = MACHINE.monotonic) -> None:
        self._store, self._clock = store, clock
        self._hashes: frozenset[str] = frozenset()
        self._read = -EVERY_S
        self._lock = anyio.Lock()

    async def knows(self, key: str) -> bool:
        """Return whether there is a key with this hash."""
        if key in self._hashes:
            return True
        async with self._lock:
            if key not in self._hashes and self._clock() - self._read >= EVERY_S:
                self._hashes = await anyio.to_thread.run_sync(known_hashes, self._store)
                self._read = self._clock()
        return key in self._hashes

    def forget(self, key: str) -> None:
        """Drop a key that was revoked."""
        self._hashes -= {key}
