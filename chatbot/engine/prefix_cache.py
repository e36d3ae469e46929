"""Keys and values of finished requests, kept so that a conversation's next turn need not compute its history again.

Bounded in bytes, least recently used goes first. An entry serves only the adapter that made it, by its hash, and the
client it was made for: how much of a prompt is known, and how fast it is answered, would tell others what it says. But
what all clients' prompts begin with (the shop's own words) serves them all.
Used by the engine's thread only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chatbot.engine.compute.kv_cache import KeyValues

LEAST = 16  # tokens worth a copy


@dataclass(frozen=True, slots=True)
class Entry:
    """The stored tokens of a client's; the first `prompt` of them were the request's prompt."""

    adapter: str
    client: str
    tokens: NDArray[np.int64]
    prompt: int
    store: KeyValues


class PrefixCache:
    """`budget` bytes at most; 0 keeps nothing."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._entries: OrderedDict[int, Entry] = OrderedDict()  # least recently used first
        self._next = 0
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, adapter: str, client: str, tokens: Sequence[int], prompt: int, store: KeyValues) -> None:
        """Take over a store that holds so many tokens; the caller must not use it any more."""
        if store.nbytes > self._budget or len(tokens) < LEAST:
            return
        known = np.asarray(tokens, dtype=np.int64)
        for number, entry in list(self._entries.items()):  # what it continues is in it
            if (entry.adapter, entry.client) == (adapter, client) and _common(entry.tokens, known) == len(entry.tokens):
                self._drop(number)
        self._entries[self._next] = Entry(adapter, client, known, prompt, store)
        self._next += 1
        self.nbytes += store.nbytes
        while self.nbytes > self._budget:
            self._drop(next(iter(self._entries)))

    def take(
        self, adapter: str, client: str, prompt: Sequence[int], positions: int, common: int = 0
    ) -> tuple[KeyValues, int] | None:
        """A store of the caller's own, with room for `positions`, and how many of the prompt's tokens it holds.

        At least one token of the prompt is left to compute. The first `common` tokens may be another client's.
        """
        wanted = np.asarray(prompt[:-1], dtype=np.int64)
        best, length = None, 0
        for number, entry in self._entries.items():
            most = 0 if entry.adapter != adapter else len(wanted) if entry.client == client else common
            if most > length and (same := _common(entry.tokens, wanted[:most])) > length:
                best, length = number, same
        if best is None or length < LEAST:
            return None
        entry = self._entries[best]
        self._entries.move_to_end(best)
        if length < entry.prompt:  # another conversation, or this one told otherwise: leave it its own
            return entry.store.copy(length, positions), length
        self._drop(best)
        entry.store.reserve(positions, length)
        return entry.store, length

    def forget(self, adapter: str) -> None:
        """Drop what an adapter made."""
        for number in [n for n, e in self._entries.items() if e.adapter == adapter]:
            self._drop(number)

    def clear(self) -> None:
        self._entries.clear()
        self.nbytes = 0

    def _drop(self, number: int) -> None:
        self.nbytes -= self._entries.pop(number).store.nbytes


def _common(a: NDArray[np.int64], b: NDArray[np.int64]) -> int:
    """Length of the longest common prefix."""
    n = min(len(a), len(b))
    different = np.flatnonzero(a[:n] != b[:n])
    return int(different[0]) if len(different) else n
