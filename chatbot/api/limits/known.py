"""Which API keys there are, so that a request with none of ours costs no look-up, and one with ours no limit of others.

Only decides by which limits a request is counted; whether a key is valid is asked of the database each time.
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
    """Hashes of all keys that are in use, read again when another one comes, once a second at most."""

    def __init__(self, store: Store, clock: Callable[[], float] = MACHINE.monotonic) -> None:
        self._store, self._clock = store, clock
        self._hashes: frozenset[str] = frozenset()
        self._read = -EVERY_S
        self._lock = anyio.Lock()

    async def knows(self, key: str) -> bool:
        if key in self._hashes:
            return True
        async with self._lock:
            if key not in self._hashes and self._clock() - self._read >= EVERY_S:
                self._hashes = await anyio.to_thread.run_sync(known_hashes, self._store)
                self._read = self._clock()
        return key in self._hashes

    def forget(self, key: str) -> None:
        """It was revoked."""
        self._hashes -= {key}
