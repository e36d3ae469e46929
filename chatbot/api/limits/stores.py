"""Storage of buckets: in this process's memory, or in the database, from which tokens are leased.

A process takes a lease of several tokens in one short transaction and hands them out itself; so most requests cost no
transaction, and several processes together never hand out more than the bucket held. Knows no request.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import anyio.to_thread

from chatbot.api.limits import buckets
from chatbot.api.limits.bounded import Bounded
from chatbot.api.limits.buckets import Level, RateLimit, Taken
from shoptalk.store import Store
from shoptalk.store.chat import rate_buckets

MOST: Final = 50_000  # buckets of one kind in memory
LEASE_SHARE: Final = 0.1  # of a limit
LEASE_S: Final = 30.0  # what is left of a lease then is forgotten
TIDY_S: Final = 60.0
Clock = Callable[[], float]


class Buckets(Protocol):
    """Buckets by kind and name. `kind` keeps visitors' buckets from pushing keys' out of memory."""

    async def take(self, kind: str, name: str, rule: RateLimit, cost: float) -> Taken:
        """Take tokens where there are enough; `cost` 0 only asks whether there is any."""
        ...

    def charge(self, kind: str, name: str, rule: RateLimit, cost: float) -> None:
        """Take tokens afterwards, whether they are there or not."""
        ...


class MemoryBuckets:
    """Buckets of one process. A bucket that was forgotten is full."""

    def __init__(self, clock: Clock, most: int = MOST) -> None:
        self._clock, self._most = clock, most
        self._kinds: dict[str, Bounded[Level]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._kinds.values()))

    async def take(self, kind: str, name: str, rule: RateLimit, cost: float) -> Taken:
        now, levels = self._clock(), self._levels(kind)
        level, taken = buckets.used(rule, levels.get(name) or buckets.full(rule, now), cost, now)
        if cost:
            levels.put(name, level)
        return taken

    def charge(self, kind: str, name: str, rule: RateLimit, cost: float) -> None:
        now, levels = self._clock(), self._levels(kind)
        levels.put(name, buckets.charged(rule, levels.get(name) or buckets.full(rule, now), cost, now))

    def _levels(self, kind: str) -> Bounded[Level]:
        return self._kinds.setdefault(kind, Bounded(self._most))


@dataclass(slots=True)
class Lease:
    """Tokens this process may hand out; below zero, what it owes the bucket.

    `remaining` is what the bucket held when it was asked last; until `empty_until` it is not asked again.
    """

    tokens: float
    until: float
    remaining: float
    empty_until: float = 0.0


class SharedBuckets:
    """Buckets of several processes with one database. Raises SQLAlchemyError where that does not answer.

    `digest(purpose, value)` is a keyed hash: addresses and visitors are not kept as they are.
    """

    def __init__(self, store: Store, digest: Callable[[str, str], str], clock: Clock, most: int = MOST) -> None:
        self._store, self._digest, self._clock, self._most = store, digest, clock, most
        self._kinds: dict[str, Bounded[Lease]] = {}
        self._tidied = clock()

    async def take(self, kind: str, name: str, rule: RateLimit, cost: float) -> Taken:
        lease = self._lease(kind, name)
        if not _covers(lease, cost) and self._clock() >= lease.empty_until:
            await anyio.to_thread.run_sync(self._renew, kind, name, rule, lease, cost)
        now = self._clock()
        ok = _covers(lease, cost)
        if ok:
            lease.tokens -= cost
        left = max(0.0, lease.remaining + lease.tokens)
        wait = 0.0 if ok else max(1e-3, lease.empty_until - now)
        return Taken(ok, rule, left, wait, buckets.seconds_until(rule, Level(left, now), rule.limit))

    def charge(self, kind: str, name: str, rule: RateLimit, cost: float) -> None:
        """Take tokens; those that the lease does not hold are settled when the bucket is asked next."""
        self._lease(kind, name).tokens -= cost

    def _lease(self, kind: str, name: str) -> Lease:
        leases, now = self._kinds.setdefault(kind, Bounded(self._most)), self._clock()
        lease = leases.get(name)
        if lease is None:
            lease = Lease(0.0, now + LEASE_S, 0.0)
            leases.put(name, lease)
        elif now >= lease.until:
            lease.tokens, lease.until = min(0.0, lease.tokens), now + LEASE_S
        return lease

    def _renew(self, kind: str, name: str, rule: RateLimit, lease: Lease, cost: float) -> None:
        """Settle what is owed and lease more tokens, in one transaction."""
        now, id = self._clock(), "bkt_" + self._digest("rate bucket", f"{kind}\0{name}")[:32]
        tidy = now - self._tidied >= TIDY_S
        if tidy:
            self._tidied = now
        wanted = max(cost, 1.0 if rule.limit >= 1 else rule.limit, rule.limit * LEASE_SHARE)
        with self._store.write() as conn:
            found = rate_buckets.held(conn, id)
            owed, lease.tokens = min(0.0, lease.tokens), max(0.0, lease.tokens)
            level = buckets.refilled(rule, Level(*found) if found else buckets.full(rule, now), now)
            level = Level(level.tokens + owed, level.at)
            got = max(0.0, min(wanted, level.tokens))
            level = Level(level.tokens - got, level.at)
            full_at = now + buckets.seconds_until(rule, level, rule.limit)
            rate_buckets.put(conn, id, level.tokens, level.at, full_at)
            if tidy:
                rate_buckets.forget_full(conn, now)
        lease.tokens += got
        lease.remaining, lease.until = max(0.0, level.tokens), now + LEASE_S
        short = max(cost, min(1.0, rule.limit)) - lease.tokens
        lease.empty_until = now + buckets.seconds_until(rule, level, short) if not _covers(lease, cost) else 0.0


def _covers(lease: Lease, cost: float) -> bool:
    return lease.tokens >= cost if cost else lease.tokens > 0
