"""The authenticated caller of a request: whose conversations it reaches, and what it may do. Knows no HTTP."""

from __future__ import annotations

from dataclasses import dataclass

from chatbot.engine.protocol import Lane
from shoptalk.domain import NO_LIMITS, KeyLimits, Scope


@dataclass(frozen=True, slots=True)
class Caller:
    """An API key's holder, or a visitor of the chat page."""

    key_id: str
    scopes: frozenset[Scope]
    #: owner of the conversations that it opens; see `shoptalk.owners`
    owner: str
    #: set for visitors only
    customer: str | None = None
    limits: KeyLimits = NO_LIMITS

    @property
    def lane(self) -> Lane:
        """The lane of its requests; visitors get a part of the capacity (`chatbot.engine.protocol`)."""
        return "keys" if self.customer is None else "visitors"

    def allows(self, scope: Scope) -> bool:
        """Return whether it has a scope, by itself or as `admin`."""
        return scope in self.scopes or Scope.ADMIN in self.scopes
