"""How many requests of each are under way. Pure; used from the event loop only."""

from __future__ import annotations


class Concurrency:
    """Counts by name; whoever has none under way takes no memory."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def enter(self, name: str, most: int) -> bool:
        """One more, unless there are as many as may be."""
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
