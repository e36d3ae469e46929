"""The requests that wait for a place in the batch, in fair order. Knows only who asks and how urgently.

Clients take turns, each one's own requests in order; low priority waits until nothing else does. Not thread-safe.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from chatbot.engine.protocol import Priority


class Waits(Protocol):
    """What can wait."""

    @property
    def client(self) -> str: ...

    @property
    def priority(self) -> Priority: ...


T = TypeVar("T", bound=Waits)


class Waiting(Generic[T]):
    """Iterating gives all, in no particular order."""

    def __init__(self) -> None:
        self._lines: dict[Priority, OrderedDict[str, deque[T]]] = {"normal": OrderedDict(), "low": OrderedDict()}
        self._counts: dict[Priority, int] = {"normal": 0, "low": 0}

    def __len__(self) -> int:
        return sum(self._counts.values())

    def __iter__(self) -> Iterator[T]:
        for lines in self._lines.values():
            for line in lines.values():
                yield from line

    def count(self, priority: Priority) -> int:
        return self._counts[priority]

    def push(self, item: T, *, first: bool = False) -> None:
        """At the end of its client's line, or at its head."""
        line = self._lines[item.priority].setdefault(item.client, deque())
        (line.appendleft if first else line.append)(item)
        self._counts[item.priority] += 1

    def pop(self) -> T:
        """Whose turn it is; raises IndexError where nobody waits."""
        priority: Priority = "normal" if self._counts["normal"] else "low"
        lines = self._lines[priority]
        if not lines:
            raise IndexError("nobody waits")
        client, line = lines.popitem(last=False)
        item = line.popleft()
        if line:
            lines[client] = line  # behind the others
        self._counts[priority] -= 1
        return item

    def remove(self, item: T) -> None:
        """Raises ValueError where it does not wait."""
        lines = self._lines[item.priority]
        line = lines.get(item.client, deque())
        line.remove(item)
        if not line:
            del lines[item.client]
        self._counts[item.priority] -= 1
