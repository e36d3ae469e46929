"""The rate limits of the settings, and those that an API key has of its own. Knows no request and keeps no count."""

from __future__ import annotations

from dataclasses import dataclass

from chatbot.api.limits.buckets import DAY_S, RateLimit
from shoptalk.domain import KeyLimits
from shoptalk.settings import Settings


@dataclass(frozen=True, slots=True)
class RateLimits:
    """The rate limits, as properties; None where the setting is 0."""

    settings: Settings

    @property
    def address(self) -> RateLimit | None:
        return _limit("requests a minute of an address", self.settings.address_requests_per_minute)

    @property
    def address_messages(self) -> RateLimit | None:
        return _limit("messages a minute of an address", self.settings.address_messages_per_minute)

    @property
    def address_tokens(self) -> RateLimit | None:
        return _limit("tokens a minute of an address", self.settings.address_tokens_per_minute, unit="tokens")

    @property
    def failures(self) -> RateLimit | None:
        return _limit("wrong API keys a minute of an address", self.settings.address_failures_per_minute)

    @property
    def visitor(self) -> RateLimit | None:
        return _limit("messages a minute of a visitor", self.settings.visitor_messages_per_minute)

    @property
    def visitor_tokens(self) -> RateLimit | None:
        return _limit("tokens a minute of a visitor", self.settings.visitor_tokens_per_minute, unit="tokens")

    @property
    def visitors(self) -> RateLimit | None:
        """Return the limit of all visitors together: half a second's worth at once, so that a rush delays no key."""
        rate = self.settings.visitors_requests_per_second
        if not rate:
            return None
        burst = max(1.0, rate / 2)
        return _limit("requests a second of all visitors", burst, burst / rate)

    def key_requests(self, limits: KeyLimits) -> RateLimit | None:
        limit = limits.requests_per_minute or self.settings.key_requests_per_minute
        return _limit("requests a minute of this API key", limit)

    def key_tokens(self, limits: KeyLimits) -> RateLimit | None:
        limit = limits.tokens_per_day or self.settings.key_tokens_per_day
        return _limit("tokens a day of this API key", limit, DAY_S, "tokens", daily=True)

    def key_concurrent(self, limits: KeyLimits) -> int:
        return limits.concurrent or self.settings.key_concurrent


def _limit(
    what: str, limit: float, period_s: float = 60.0, unit: str = "requests", daily: bool = False
) -> RateLimit | None:
    return RateLimit(what, limit, period_s, unit, daily) if limit else None
