"""Decides whether a request may go on: penalties, concurrency, then buckets, of its visitor, its address and its key.

Who is refused is told which limit and when to try again. Used from the event loop only; with buckets in the database
it waits for a short transaction now and then.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from prometheus_client import Counter

from chatbot.api.limits.admission import Admission
from chatbot.api.limits.buckets import Rule, Taken
from chatbot.api.limits.concurrency import Concurrency
from chatbot.api.limits.penalties import Penalties
from chatbot.api.limits.rules import Rules
from chatbot.api.limits.stores import Buckets, MemoryBuckets
from chatbot.engine.protocol import Lane
from shoptalk.clock import MACHINE
from shoptalk.domain import KeyLimits
from shoptalk.errors import RateLimited
from shoptalk.settings import Settings

SESSION_COST: Final = 5.0  # requests of its address that a new visitor's session counts as
HOLD: Final = Rule("refusals a second of an address", 10, 10.0)  # more are answered slowly
HOLD_S: Final = 2.0
MOST_HELD: Final = 1000
FREE_OFFENCES: Final = 3  # of an address, which several people may share


class Limits:
    """`quotas` keeps what must outlive the process: what keys use in a day."""

    def __init__(
        self,
        settings: Settings,
        buckets: Buckets,
        quotas: Buckets,
        refusals: Counter,
        clock: Callable[[], float] = MACHINE.unix,
    ) -> None:
        self.rules = Rules(settings)
        self._settings, self._buckets, self._quotas, self._refusals = settings, buckets, quotas, refusals
        self._concurrency, self._penalties = Concurrency(), Penalties(clock)
        self._refused = MemoryBuckets(clock)
        self._held = 0

    async def admit_anyone(self, admission: Admission) -> None:
        """A request without an API key that is known, whatever it wants."""
        await self._take(admission, "address", admission.address, self.rules.address)
        await self._take(admission, "visitors", "all", self.rules.visitors)

    async def admit_visitor(self, admission: Admission, visitor: str) -> None:
        """A visitor's message or feedback, before anything of it is read."""
        s, address = self._settings, admission.address
        for name in (f"visitor {visitor}", f"address {address}"):
            self._check_penalty("visitors", name)
        self._enter(admission, f"visitor {visitor}", s.visitor_concurrent, "requests at once of a visitor")
        self._enter(admission, f"address {address}", s.address_concurrent, "requests at once of an address")
        await self._take(admission, "visitor", visitor, self.rules.visitor, told=True)
        await self._take(admission, "visitor tokens", visitor, self.rules.visitor_tokens, cost=0.0, told=True)
        await self._take(admission, "address messages", address, self.rules.address_messages)
        await self._take(admission, "address tokens", address, self.rules.address_tokens, cost=0.0)

    async def admit_session(self, admission: Admission) -> None:
        """A visitor's new session: another cookie makes no other client."""
        await self._take(admission, "address", admission.address, self.rules.address, cost=SESSION_COST)

    async def admit_key(self, admission: Admission, key_id: str, limits: KeyLimits) -> None:
        """A request with an API key."""
        admission.lane = "keys"
        if most := self.rules.key_concurrent(limits):
            self._enter(admission, f"key {key_id}", most, "requests at once of this API key")
        await self._take(admission, "key", key_id, self.rules.key_requests(limits), told=True)
        quota = self.rules.key_tokens(limits)
        await self._take(admission, "key tokens", key_id, quota, cost=0.0, told=True, quota=True)

    async def admit_attempt(self, admission: Admission) -> None:
        """Someone without a known API key who may be guessing one."""
        await self._take(admission, "failures", admission.address, self.rules.failures)
        admission.attempts = True

    def forgive(self, admission: Admission) -> None:
        """It was no wrong API key."""
        if self.rules.failures:
            self._buckets.charge("failures", admission.address, self.rules.failures, -1.0)

    def penalize(self, admission: Admission, *, key_id: str, customer: str | None) -> float:
        """A text of this client had to be ended: it waits longer each time; returns how long now, in seconds.

        A visitor and, after some times, its address; of an API key only the customer that the request named, since a
        shop's other customers share the key: where it named none, nobody waits.
        """
        if admission.lane == "keys":
            return self._penalties.add(_client(key_id, customer)) if customer else 0.0
        wait = self._penalties.add(f"visitor {customer}")
        return max(wait, self._penalties.add(f"address {admission.address}", FREE_OFFENCES))

    def check_client(self, key_id: str, customer: str | None) -> None:
        """Raises RateLimited where this customer of an API key has to wait."""
        if customer:
            self._check_penalty("keys", _client(key_id, customer))

    async def hold_s(self, admission: Admission) -> float:
        """How long a refusal is kept back: nothing, unless the address comes again and again without waiting."""
        taken = await self._refused.take("refused", admission.address, HOLD, 1.0)
        return 0.0 if taken.ok or self._held >= MOST_HELD else HOLD_S

    def holding(self, by: int) -> None:
        self._held += by

    async def _take(
        self, admission: Admission, kind: str, name: str, rule: Rule | None, *,
        cost: float = 1.0, told: bool = False, quota: bool = False,
    ) -> None:  # fmt: skip
        """Raises RateLimited. With `told`, the answer's headers say what is left."""
        if rule is None:
            return
        kept = self._quotas if quota else self._buckets
        taken = await kept.take(kind, name, rule, cost)
        if told:
            admission.told.append(taken)
        if not taken.ok:
            raise self._refuse(admission.lane, rule.what, f"The limit of {_number(rule)} is reached.", taken.wait_s)
        if rule.unit == "tokens":
            admission.pays.append(lambda tokens: kept.charge(kind, name, rule, tokens))

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


def headers(told: list[Taken]) -> list[tuple[bytes, bytes]]:
    """As OpenAI's API has them: what is left of requests and tokens."""
    found = []
    for taken in told:
        unit = taken.rule.unit
        for name, value in (
            ("limit", f"{taken.rule.limit:.0f}"),
            ("remaining", f"{math.floor(taken.remaining)}"),
            ("reset", duration(taken.reset_s)),
        ):
            found.append((f"x-ratelimit-{name}-{unit}".encode(), value.encode()))
    return found


def duration(seconds: float) -> str:
    """'20ms', '7.5s', '6m0s', '23h59m59s'."""
    if seconds < 1:
        return f"{math.ceil(1000 * seconds)}ms"
    if seconds < 60:
        return f"{math.ceil(10 * seconds) / 10:g}s"
    whole = math.ceil(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}h{minutes}m{whole % 60}s" if hours else f"{minutes}m{whole % 60}s"


def _number(rule: Rule) -> str:
    if rule.period_s == 2.0:
        return f"{rule.limit / 2:g} {rule.what}"
    return f"{rule.limit:g} {rule.what}"


def _client(key_id: str, customer: str) -> str:
    return f"client {key_id}\0{customer}"
