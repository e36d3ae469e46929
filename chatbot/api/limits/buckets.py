"""Token buckets as plain arithmetic: what a rate limit allows and how a bucket refills. No clock, no storage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DAY_S: Final = 86400.0


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A limit of `limit` tokens in `period_s`, all of them at once if need be; used tokens come back evenly.

    Where `daily`, all come back at midnight (UTC) instead. `what` names the limit in messages and metrics; `unit` is
    what is counted.
    """

    what: str
    limit: float
    period_s: float = 60.0
    unit: str = "requests"
    daily: bool = False

    @property
    def rate(self) -> float:
        """Return how many tokens come back in a second."""
        return self.limit / self.period_s


@dataclass(frozen=True, slots=True)
class Level:
    """The tokens in a bucket at a time (seconds since the epoch); below zero where more was used than there was."""

    tokens: float
    at: float


@dataclass(frozen=True, slots=True)
class Taken:
    """The outcome of a request for tokens: whether there were enough, and how many are left.

    `wait_s` is the seconds until there are enough, `reset_s` until the bucket is full.
    """

    ok: bool
    rule: RateLimit
    remaining: float
    wait_s: float
    reset_s: float


def full(rule: RateLimit, now: float) -> Level:
    """Return a full bucket."""
    return Level(rule.limit, now)


def refilled(rule: RateLimit, level: Level, now: float) -> Level:
    """Return the bucket at a later time; a clock that went back adds nothing."""
    if rule.daily:
        tokens = rule.limit if now // DAY_S > level.at // DAY_S else level.tokens
    else:
        tokens = level.tokens + max(0.0, now - level.at) * rule.rate
    return Level(min(rule.limit, tokens), max(level.at, now))


def used(rule: RateLimit, level: Level, cost: float, now: float) -> tuple[Level, Taken]:
    """Take tokens where there are enough; return bucket and outcome. `cost` 0 only asks whether there is any."""
    here = refilled(rule, level, now)
    ok = here.tokens >= cost if cost else here.tokens > 0
    left = Level(here.tokens - cost, here.at) if ok else here
    wait = 0.0 if ok else seconds_until(rule, here, max(cost, min(1.0, rule.limit)))
    return left, Taken(ok, rule, max(0.0, left.tokens), wait, seconds_until(rule, left, rule.limit))


def charged(rule: RateLimit, level: Level, cost: float, now: float) -> Level:
    """Take tokens that may not be there, for what was answered already; return the bucket."""
    here = refilled(rule, level, now)
    return Level(here.tokens - cost, here.at)


def seconds_until(rule: RateLimit, level: Level, tokens: float) -> float:
    """Return the seconds until the bucket holds `tokens`, or as many as it can hold."""
    missing = min(tokens, rule.limit) - level.tokens
    if missing <= 0:
        return 0.0
    return DAY_S - level.at % DAY_S if rule.daily else missing / rule.rate
