"""Decides whether a request may proceed: by penalties, concurrency, then buckets, of its visitor, address and API key.

A refusal says which limit is reached and when to try again. Used from the event loop only; with buckets in the database
it waits for a short transaction now and then. Knows no HTTP but the headers that show what is left.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from prometheus_client import Counter

from chatbot.api.limits.admission import Admission
from chatbot.api.limits.buckets import RateLimit, Taken
from chatbot.api.limits.concurrency import Concurrency
from chatbot.api.limits.penalties import Penalties
from chatbot.api.limits.rates import RateLimits
from chatbot.api.limits.stores import Buckets, MemoryBuckets
from chatbot.engine.protocol import Lane
from shoptalk.clock import MACHINE
from shoptalk.domain import KeyLimits
from shoptalk.errors import RateLimited
from shoptalk.settings import Settings

SESSION_COST: Final = 5.0  # requests of its address that a new visitor's session counts as
HOLD: Final = RateLimit("refusals a second of an address", 10, 10.0)  # further ones are delayed
HOLD_S: Final = 2.0
MOST_HELD: Final = 1000
FREE_OFFENCES: Final = 3  # of an address, which several people may share


class RequestLimiter:
    """The limits of an API process. `quotas` keeps what must outlive it: the tokens that keys use in a day."""

    def __init__(
        self,
        settings: Settings,
        buckets: Buckets,
        quotas: Buckets,
        refusals: Counter,
        clock: Callable[[], float] = MACHINE.unix,
    ) -> None:
        self.rates = RateLimits(settings)
        self._settings, self._buckets, self._quotas, self._refusals = settings, buckets, quotas, refusals
        self._concurrency, self._penalties = Concurrency(), Penalties(clock)
        self._refused = MemoryBuckets(clock)
        self._held = 0

    async def admit_anyone(self, admission: Admission) -> None:
        """Admit a request without a known API key, whatever it wants. Raises RateLimited, as the others do."""
        await self._take(admission, "address", admission.address, self.rates.address)
        await self._take(admission, "visitors", "all", self.rates.visitors)

    async def admit_visitor(self, admission: Admission, visitor: str) -> None:
        """Admit a visitor's message or feedback, before its body is read."""
        s, address = self._settings, admission.address
        for name in (f"visitor {visitor}", f"address {address}"):
            self._check_penalty("visitors", name)
        self._enter(admission, f"visitor {visitor}", s.visitor_concurrent, "requests at once of a visitor")
        self._enter(admission, f"address {address}", s.address_concurrent, "requests at once of an address")
        await self._take(admission, "visitor", visitor, self.rates.visitor, shown=True)
        await self._take(admission, "visitor tokens", visitor, self.rates.visitor_tokens, cost=0.0, shown=True)
        await self._take(admission, "address messages", address, self.rates.address_messages)
        await self._take(admission, "address tokens", address, self.rates.address_tokens, cost=0.0)

    async def admit_session(self, admission: Admission) -> None:
        """Admit a new session of a visitor: another cookie makes no other client."""
        await self._take(admission, "address", admission.address, self.rates.address, cost=SESSION_COST)

    async def admit_key(self, admission: Admission, key_id: str, limits: KeyLimits) -> None:
        """Admit a request with an API key."""
        admission.lane = "keys"
        if most := self.rates.key_concurrent(limits):
            self._enter(admission, f"key {key_id}", most, "requests at once of this API key")
        await self._take(admission, "key", key_id, self.rates.key_requests(limits), shown=True)
        quota = self.rates.key_tokens(limits)
        await self._take(admission, "key tokens", key_id, quota, cost=0.0, shown=True, quota=True)

    async def admit_attempt(self, admission: Admission) -> None:
        """Admit a client without a known API key, who may be guessing one."""
        await self._take(admission, "failures", admission.address, self.rates.failures)
        admission.attempts = True

    def forgive(self, admission: Admission) -> None:
        """Take an attempt back: the API key turned out to be right."""
        if self.rates.failures:
            self._buckets.charge("failures", admission.address, self.rates.failures, -1.0)

    def penalize(self, admission: Admission, *, key_id: str, customer: str | None) -> float:
        """Make a client wait whose text reached the scrubber's deadline, longer each time; return the seconds.

        A visitor waits and, after some offences, its address. Of an API key only the customer waits that the request
        named, since a shop's other customers share the key: where it named none, nobody waits.
        """
        if admission.lane == "keys":
            return self._penalties.add(_client(key_id, customer)) if customer else 0.0
        wait = self._penalties.add(f"visitor {customer}")
        return max(wait, self._penalties.add(f"address {admission.address}", FREE_OFFENCES))

    def check_client(self, key_id: str, customer: str | None) -> None:
        """Raise RateLimited where this customer of an API key has to wait."""
        if customer:
            self._check_penalty("keys", _client(key_id, customer))

    async def hold_s(self, admission: Admission) -> float:
        """Return for how many seconds to hold a refusal back: 0 unless the address keeps coming without waiting."""
        taken = await self._refused.take("refused", admission.address, HOLD, 1.0)
        return 0.0 if taken.ok or self._held >= MOST_HELD else HOLD_S

    def holding(self, by: int) -> None:
        """Count the refusals that are held back."""
        self._held += by

    async def _take(
        self, admission: Admission, kind: str, name: str, rule: RateLimit | None, *,
        cost: float = 1.0, shown: bool = False, quota: bool = False,
    ) -> None:  # fmt: skip
        """Take tokens, or raise RateLimited. With `shown`, the answer's headers say what is left."""
        if rule is None:
            return
        kept = self._quotas if quota else self._buckets
        taken = await kept.take(kind, name, rule, cost)
        if shown:
            admission.shown.append(taken)
        if not taken.ok:
            raise self._refuse(admission.lane, rule.what, f"The limit of {_number(rule)} is reached.", taken.wait_s)
        if rule.unit == "tokens":
            admission.charges.append(lambda tokens: kept.charge(kind, name, rule, tokens))

    def _enter(self, admission: Admission, name: str, most: int, what: str) -> None:
        if not self._concurrency.enter(name, most):
            raise self._refuse(admission.lane, what, f"The limit of {most} {what} is reached.", 1.0)
        admission.leaves.append(lambda: self._concurrency.leave(name))

    def _check_penalty(self, lane: Lane, name: str) -> None:
        if wait := self._penalties.wait_s(name):
            raise self._refuse(lane, "penalty", "A text of yours took too long to examine.", wait)

    def _refuse(self, lane: Lane, reason: str, why: str, wait_s: float) -> RateLimited:
        self._refusals.labels(lane, reason).inc()
        seconds = max(1, math.ceil(wait_s))
        return RateLimited(f"{why} Try again in {seconds} s.", retry_after=seconds)


def headers(shown: list[Taken]) -> list[tuple[bytes, bytes]]:
    """Return the headers that show what is left of requests and tokens, as OpenAI's API has them."""
    found = []
    for taken in shown:
        unit = taken.rule.unit
        for name, value in (
            ("limit", f"{taken.rule.limit:.0f}"),
            ("remaining", f"{math.floor(taken.remaining)}"),
            ("reset", duration(taken.reset_s)),
        ):
            found.append((f"x-ratelimit-{name}-{unit}".encode(), value.encode()))
    return found


def duration(seconds: float) -> str:
    """Return a duration as OpenAI's headers have it: '20ms', '7.5s', '6m0s', '23h59m59s'."""
    if seconds < 1:
        return f"{math.ceil(1000 * seconds)}ms"
    if seconds < 60:
        return f"{math.ceil(10 * seconds) / 10:g}s"
    whole = math.ceil(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}h{minutes}m{whole % 60}s" if hours else f"{minutes}m{whole % 60}s"


def _number(rule: RateLimit) -> str:
    if rule.period_s == 2.0:
        return f"{rule.limit / 2:g} {rule.what}"
    return f"{rule.limit:g} {rule.what}"


def _client(key_id: str, customer: str) -> str:
    return f"client {key_id}\0{customer}"
