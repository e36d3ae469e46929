"""The requests that wait for a place in the batch, in fair order. Knows only who asks, in which lane and how urgently.

Groups of clients take turns, and so do the clients of a group; each one's own requests go in order. Visitors hold at
most their part of the batch, whoever else waits. Low priority waits until nothing else can go. Not thread-safe.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from typing import Final, Generic, Protocol, TypeVar

from chatbot.engine.protocol import LANES, Lane, Priority

REMEMBERED: Final = 10_000  # groups whose last turn is known
AT_ONCE_S: Final = 0.5  # a refusal within this is at once, for whoever asks


class Waits(Protocol):
    """What can wait."""

    @property
    def client(self) -> str: ...

    @property
    def group(self) -> str: ...

    @property
    def lane(self) -> Lane: ...

    @property
    def priority(self) -> Priority: ...

    @property
    def waited_s(self) -> float: ...


T = TypeVar("T", bound=Waits)


class Line(Generic[T]):
    """The requests of one lane and priority: groups in turn, in each its clients in turn."""

    def __init__(self) -> None:
        self._groups: OrderedDict[str, OrderedDict[str, deque[T]]] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._turns = 0
        self._served: OrderedDict[str, int] = OrderedDict()  # group -> its last turn, the latest last
        self.count = 0

    def __iter__(self) -> Iterator[T]:
        for clients in self._groups.values():
            for own in clients.values():
                yield from own

    def push(self, item: T, *, first: bool) -> None:
        own = self._groups.setdefault(item.group, OrderedDict()).setdefault(item.client, deque())
        (own.appendleft if first else own.append)(item)
        self._sizes[item.group] = self._sizes.get(item.group, 0) + 1
        self.count += 1

    def pop(self) -> T:
        """Whose turn it is; those who had theirs stand behind the others."""
        group, clients = self._groups.popitem(last=False)
        client, own = clients.popitem(last=False)
        item = own.popleft()
        if own:
            clients[client] = own
        if clients:
            self._groups[group] = clients
        self._removed(group)
        self._turns += 1
        self._served[group] = self._turns
        self._served.move_to_end(group)
        if len(self._served) > REMEMBERED:
            self._served.popitem(last=False)
        return item

    def remove(self, item: T) -> None:
        """Raises ValueError where it does not wait."""
        clients = self._groups.get(item.group, OrderedDict())
        own = clients.get(item.client, deque())
        own.remove(item)
        if not own:
            del clients[item.client]
        if not clients:
            del self._groups[item.group]
        self._removed(item.group)

    def gives_way(self, beside: str) -> T | None:
        """Which request gives its place to one of the group `beside`; None where that has no better claim.

        The newest of the group that waits with most, if that is two more than `beside` has; else of the group that had
        a turn last, if that was after the last of `beside`: so that a full queue goes round. That one only while it is
        still refused at once: who has waited longer keeps its place.
        """
        if not self._sizes:
            return None
        group = max(self._sizes, key=self._sizes.__getitem__)
        if self._sizes[group] < self._sizes.get(beside, 0) + 2:
            if beside in self._sizes:
                return None
            group = max(self._sizes, key=lambda name: self._served.get(name, 0))
            newest = self._newest(group)
            late = newest.waited_s > AT_ONCE_S
            return None if late or self._served.get(group, 0) <= self._served.get(beside, 0) else newest
        return self._newest(group)

    def _newest(self, group: str) -> T:
        """Of the client of a group that waits with most."""
        return max(self._groups[group].values(), key=len)[-1]

    def _removed(self, group: str) -> None:
        self.count -= 1
        self._sizes[group] -= 1
        if not self._sizes[group]:
            del self._sizes[group]


class Waiting(Generic[T]):
    """Iterating gives all, in no particular order."""

    def __init__(self, batch: int = 1, visitors: int | None = None) -> None:
        """Of `batch` places at most `visitors` are for visitors; None: all."""
        self._parts: dict[Lane, int] = {"keys": batch, "visitors": batch}
        self._most = batch if visitors is None else max(1, min(batch, visitors))
        if self._most < batch:
            self._parts = {"keys": batch - self._most, "visitors": self._most}
        self._lines: dict[Priority, dict[Lane, Line[T]]] = {
            "normal": {lane: Line() for lane in LANES},
            "low": {lane: Line() for lane in LANES},
        }

    def __len__(self) -> int:
        return self.count("normal") + self.count("low")

    def __iter__(self) -> Iterator[T]:
        for lines in self._lines.values():
            for line in lines.values():
                yield from line

    def count(self, priority: Priority, lane: Lane | None = None) -> int:
        lines = self._lines[priority]
        return lines[lane].count if lane else sum(line.count for line in lines.values())

    def push(self, item: T, *, first: bool = False) -> None:
        """At the end of its client's line, or at its head."""
        self._lines[item.priority][item.lane].push(item, first=first)

    def ready(self, held: Mapping[Lane, int], priority: Priority = "normal") -> int:
        """How many that wait could go now, had the batch room for them; `held` are the places each lane has."""
        room = max(0, self._most - held.get("visitors", 0))
        return self.count(priority, "keys") + min(self.count(priority, "visitors"), room)

    def pop(self, held: Mapping[Lane, int] | None = None) -> T:
        """Whose turn it is: of two lanes, the one that has less of its part. Raises IndexError where nobody may go."""
        held = held or {}
        for lines in self._lines.values():
            able = [lane for lane in LANES if lines[lane].count and self._may(lane, held)]
            if able:
                return lines[min(able, key=lambda lane: held.get(lane, 0) / self._parts[lane])].pop()
        raise IndexError("nobody waits")

    def remove(self, item: T) -> None:
        """Raises ValueError where it does not wait."""
        self._lines[item.priority][item.lane].remove(item)

    def displaced_by(self, lane: Lane, group: str, priority: Priority = "normal") -> T | None:
        """Which waiting request gives its place to one of a group, as `Line.gives_way` says."""
        return self._lines[priority][lane].gives_way(group)

    def _may(self, lane: Lane, held: Mapping[Lane, int]) -> bool:
        return lane == "keys" or held.get("visitors", 0) < self._most
