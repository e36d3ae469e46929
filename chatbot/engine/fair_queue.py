"""The requests that wait for room in the batch, in fair order. Knows only their clients, lanes and priorities.

Groups of clients take turns, and so do the clients of a group; each client's own requests are served in order. Visitors
hold at most their share of the batch, whatever else waits. Low priority waits until nothing else can be served. Not
thread-safe.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from typing import Final, Generic, Protocol, TypeVar

from chatbot.engine.protocol import LANES, GenerationRequest, Lane, Priority

MAX_SERVED: Final = 10_000  # groups whose last turn is remembered
AT_ONCE_S: Final = 0.5  # seconds; clients feel a refusal within this as immediate


class QueueItem(Protocol):
    """A request that can wait; `waited_s` is the seconds since its submission."""

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


class HasRequest:
    """What the queue looks at of a request, for those that hold it as `request`."""

    __slots__ = ()
    request: GenerationRequest

    @property
    def client(self) -> str:
        return self.request.client

    @property
    def group(self) -> str:
        return self.request.queue_group

    @property
    def lane(self) -> Lane:
        return self.request.lane

    @property
    def priority(self) -> Priority:
        return self.request.priority


T = TypeVar("T", bound=QueueItem)


class RoundRobinQueue(Generic[T]):
    """The requests of one lane and priority: groups take turns, and in each group its clients."""

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
        """Add a request behind its client's own, or before them."""
        own = self._groups.setdefault(item.group, OrderedDict()).setdefault(item.client, deque())
        (own.appendleft if first else own.append)(item)
        self._sizes[item.group] = self._sizes.get(item.group, 0) + 1
        self.count += 1

    def pop(self) -> T:
        """Remove and return the request whose turn it is; its group and client then go behind the others."""
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
        if len(self._served) > MAX_SERVED:
            self._served.popitem(last=False)
        return item

    def remove(self, item: T) -> None:
        """Remove a request. Raises ValueError where it does not wait."""
        clients = self._groups.get(item.group, OrderedDict())
        own = clients.get(item.client, deque())
        own.remove(item)
        if not own:
            del clients[item.client]
        if not clients:
            del self._groups[item.group]
        self._removed(item.group)

    def displaced_by(self, newcomer: str) -> T | None:
        """Return the request that makes room for one of the group `newcomer`; None where that has no better claim.

        It is the newest of the group with most waiting requests, where these are at least two more than the newcomer's.
        Otherwise it is the newest of the group that had a turn last, where the newcomer's last turn was earlier and
        nothing of it waits: so a full queue goes round. That one is displaced only while it is still refused at once: a
        request that has waited longer keeps its place.
        """
        if not self._sizes:
            return None
        group = max(self._sizes, key=self._sizes.__getitem__)
        if self._sizes[group] < self._sizes.get(newcomer, 0) + 2:
            if newcomer in self._sizes:
                return None
            group = max(self._sizes, key=lambda name: self._served.get(name, 0))
            newest = self._newest(group)
            late = newest.waited_s > AT_ONCE_S
            return None if late or self._served.get(group, 0) <= self._served.get(newcomer, 0) else newest
        return self._newest(group)

    def _newest(self, group: str) -> T:
        """Return the newest request of the group's client with most waiting requests."""
        return max(self._groups[group].values(), key=len)[-1]

    def _removed(self, group: str) -> None:
        """Count one request of a group less."""
        self.count -= 1
        self._sizes[group] -= 1
        if not self._sizes[group]:
            del self._sizes[group]


class FairQueue(Generic[T]):
    """All waiting requests; iterating yields them in no particular order."""

    def __init__(self, batch: int = 1, visitors: int | None = None) -> None:
        """Make a queue for a batch of `batch` sequences, at most `visitors` of them visitors'; None: all."""
        self._shares: dict[Lane, int] = {"keys": batch, "visitors": batch}
        self._max_visitors = batch if visitors is None else max(1, min(batch, visitors))
        if self._max_visitors < batch:
            self._shares = {"keys": batch - self._max_visitors, "visitors": self._max_visitors}
        self._queues: dict[Priority, dict[Lane, RoundRobinQueue[T]]] = {
            "normal": {lane: RoundRobinQueue() for lane in LANES},
            "low": {lane: RoundRobinQueue() for lane in LANES},
        }

    def __len__(self) -> int:
        return self.count("normal") + self.count("low")

    def __iter__(self) -> Iterator[T]:
        for queues in self._queues.values():
            for queue in queues.values():
                yield from queue

    def count(self, priority: Priority, lane: Lane | None = None) -> int:
        """Return how many requests of a priority wait, in one lane or in all."""
        queues = self._queues[priority]
        return queues[lane].count if lane else sum(queue.count for queue in queues.values())

    def push(self, item: T, *, first: bool = False) -> None:
        """Add a request behind its client's own, or before them."""
        self._queues[item.priority][item.lane].push(item, first=first)

    def ready(self, held: Mapping[Lane, int], priority: Priority = "normal") -> int:
        """Return how many waiting requests could be served now if the batch had room for all of them.

        `held` is the number of sequences each lane has in the batch.
        """
        room = max(0, self._max_visitors - held.get("visitors", 0))
        return self.count(priority, "keys") + min(self.count(priority, "visitors"), room)

    def pop(self, held: Mapping[Lane, int] | None = None) -> T:
        """Remove and return the request whose turn it is. Raises IndexError where none may be served.

        Of two lanes the one that has less of its share of the batch is next; `held` as in `ready`.
        """
        held = held or {}
        for queues in self._queues.values():
            able = [lane for lane in LANES if queues[lane].count and self._may_run(lane, held)]
            if able:
                return queues[min(able, key=lambda lane: held.get(lane, 0) / self._shares[lane])].pop()
        raise IndexError("no request may be served")

    def remove(self, item: T) -> None:
        """Remove a request. Raises ValueError where it does not wait."""
        self._queues[item.priority][item.lane].remove(item)

    def displaced_by(self, lane: Lane, group: str, priority: Priority = "normal") -> T | None:
        """Return the waiting request that makes room for one of a group; see `RoundRobinQueue.displaced_by`."""
        return self._queues[priority][lane].displaced_by(group)

    def _may_run(self, lane: Lane, held: Mapping[Lane, int]) -> bool:
        return lane == "keys" or held.get("visitors", 0) < self._max_visitors
