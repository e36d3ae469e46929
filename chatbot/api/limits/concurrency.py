"""Counts of the requests in progress, by client. Pure; used from the event loop only."""

from __future__ import annotations


class Concurrency:
    """Counts by name; a client without a request in progress takes no memory."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def enter(self, name: str, most: int) -> bool:
        """Count one more, unless there are `most`; return whether it was counted."""
        count = self._counts.get(name, 0)
        if count >= most:
            return False
        self._counts[name] = count + 1
        return True

    def leave(self, name: str) -> None:
        count = self._counts[name] - 1
        if count:
            self._counts[name] = count
        else:
            del self._counts[name]
