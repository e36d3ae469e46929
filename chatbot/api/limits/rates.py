"""The limits of the settings as rules, and what an API key adds. Knows no request and keeps no count."""

from __future__ import annotations

from dataclasses import dataclass

from chatbot.api.limits.buckets import DAY_S, Rule
from shoptalk.domain import KeyLimits
from shoptalk.settings import Settings


@dataclass(frozen=True, slots=True)
class Rules:
    """Where a setting is 0 there is no rule."""

    settings: Settings

    @property
    def address(self) -> Rule | None:
        return _rule("requests a minute of an address", self.settings.address_requests_per_minute)

    @property
    def address_messages(self) -> Rule | None:
        return _rule("messages a minute of an address", self.settings.address_messages_per_minute)

    @property
    def address_tokens(self) -> Rule | None:
        return _rule("tokens a minute of an address", self.settings.address_tokens_per_minute, unit="tokens")

    @property
    def failures(self) -> Rule | None:
        return _rule("wrong API keys a minute of an address", self.settings.address_failures_per_minute)

    @property
    def visitor(self) -> Rule | None:
        return _rule("messages a minute of a visitor", self.settings.visitor_messages_per_minute)

    @property
    def visitor_tokens(self) -> Rule | None:
        return _rule("tokens a minute of a visitor", self.settings.visitor_tokens_per_minute, unit="tokens")

    @property
    def visitors(self) -> Rule | None:
        """Of all visitors together; half a second's worth at once, so that a rush of them holds no key's request up."""
        rate = self.settings.visitors_requests_per_second
        if not rate:
            return None
        burst = max(1.0, rate / 2)
        return _rule("requests a second of all visitors", burst, burst / rate)

    def key_requests(self, limits: KeyLimits) -> Rule | None:
        limit = limits.requests_per_minute or self.settings.key_requests_per_minute
        return _rule("requests a minute of this API key", limit)

    def key_tokens(self, limits: KeyLimits) -> Rule | None:
        limit = limits.tokens_per_day or self.settings.key_tokens_per_day
        return _rule("tokens a day of this API key", limit, DAY_S, "tokens", daily=True)

    def key_concurrent(self, limits: KeyLimits) -> int:
        return limits.concurrent or self.settings.key_concurrent


def _rule(what: str, limit: float, period_s: float = 60.0, unit: str = "requests", daily: bool = False) -> Rule | None:
    return Rule(what, limit, period_s, unit, daily) if limit else None
