"""KV caches of finished requests, kept so that a conversation's next turn need not compute its history again.

Bounded in bytes; the least recently used is evicted first. An entry serves only the adapter that made it, by its hash,
and the client it was made for: the count of cached tokens, and the time to the first one, would reveal to others what a
prompt says. But the prefix that all clients' prompts share (the shop's own words) serves them all. Used by the engine's
thread only. Knows tokens; neither requests nor the model.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chatbot.engine.compute.kv_cache import KVCache

MIN_TOKENS = 16  # fewer are not worth a copy


@dataclass(frozen=True, slots=True)
class CachedPrefix:
    """A request's tokens whose keys and values are kept; the first `prompt` of them were its prompt."""

    adapter: str
    client: str
    tokens: NDArray[np.int64]
    prompt: int
    kv_cache: KVCache


class PrefixCache:
    """KV caches by their tokens, of at most `budget` bytes; 0 keeps nothing. `nbytes` is what they take."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._entries: OrderedDict[int, CachedPrefix] = OrderedDict()  # least recently used first
        self._next = 0
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, adapter: str, client: str, tokens: Sequence[int], prompt: int, kv_cache: KVCache) -> None:
        """Take over a KV cache that holds `tokens`, the first `prompt` of them a prompt's.

        The caller must not use it any more. One that is too large, or holds too few tokens, is dropped.
        """
        if kv_cache.nbytes > self._budget or len(tokens) < MIN_TOKENS:
            return
        known = np.asarray(tokens, dtype=np.int64)
        for number, entry in list(self._entries.items()):  # the new one holds what it continues
            if (entry.adapter, entry.client) == (adapter, client) and _common_length(entry.tokens, known) == len(
                entry.tokens
            ):
                self._drop(number)
        self._entries[self._next] = CachedPrefix(adapter, client, known, prompt, kv_cache)
        self._next += 1
        self.nbytes += kv_cache.nbytes
        while self.nbytes > self._budget:
            self._drop(next(iter(self._entries)))

    def take(
        self, adapter: str, client: str, prompt: Sequence[int], positions: int, shared: int = 0
    ) -> tuple[KVCache, int] | None:
        """Return a KV cache of the caller's own and how many of the prompt's tokens it holds.

        It has room for `positions`.
        At least one token of the prompt is left to compute. The first `shared` tokens may come from another client's
        request. Return None where there is nothing worth it.
        """
        wanted = np.asarray(prompt[:-1], dtype=np.int64)
        best, length = None, 0
        for number, entry in self._entries.items():
            most = 0 if entry.adapter != adapter else len(wanted) if entry.client == client else shared
            if most > length and (same := _common_length(entry.tokens, wanted[:most])) > length:
                best, length = number, same
        if best is None or length < MIN_TOKENS:
            return None
        entry = self._entries[best]
        self._entries.move_to_end(best)
        if length < entry.prompt:  # another conversation, or an edited one: the entry stays as it is
            return entry.kv_cache.copy(length, positions), length
        self._drop(best)
        entry.kv_cache.reserve(positions, length)
        return entry.kv_cache, length

    def clear(self) -> None:
        """Drop everything."""
        self._entries.clear()
        self.nbytes = 0

    def _drop(self, number: int) -> None:
        self.nbytes -= self._entries.pop(number).kv_cache.nbytes


def _common_length(a: NDArray[np.int64], b: NDArray[np.int64]) -> int:
    """Return the length of the longest common prefix."""
    n = min(len(a), len(b))
    different = np.flatnonzero(a[:n] != b[:n])
    return int(different[0]) if len(different) else n
