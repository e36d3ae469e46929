"""Remembers what was found in recent texts, never the texts: spans under a hash with a key of this process."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final

from ingest.scrub.spans import Span

REMEMBERED: Final = 4096


class SpanCache:
    """Spans by text, at most `most` of them: the least recently used are forgotten first. Thread-safe."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._key = secrets.token_bytes(32)
        self._most = most
        self._recent: OrderedDict[bytes, tuple[Span, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def key(self, *parts: str) -> bytes:
        """Return the key for everything that a result depends on."""
        data = "\0".join(parts).encode("utf-8", "surrogatepass")
        return hashlib.blake2b(data, key=self._key, digest_size=16).digest()

    def recall(self, keys: Sequence[bytes]) -> dict[bytes, tuple[Span, ...]]:
        """Return what is remembered of these."""
        known: dict[bytes, tuple[Span, ...]] = {}
        with self._lock:
            for key in keys:
                if (found := self._recent.get(key)) is not None:
                    self._recent.move_to_end(key)
                    known[key] = found
        return known

    def keep(self, found: Mapping[bytes, tuple[Span, ...]]) -> None:
        """Remember these."""
        with self._lock:
            self._recent.update(found)
            while len(self._recent) > self._most:
                self._recent.popitem(last=False)
