"""Resolves a model name to one adapter version. Knows neither the engine nor the store.

An alias is looked up once per request, at admission; moving it never touches a request already admitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shoptalk.domain import BASE_VERSION, AdapterRef
from shoptalk.errors import NotFound


@dataclass(frozen=True, slots=True)
class Route:
    """What a request was given, and the probability it had of being given this."""

    alias: str
    adapter: AdapterRef
    variant: str
    propensity: float


class Router:
    """Aliases to adapters. Replaced as a whole on each change, so readers need no lock."""

    def __init__(self, default_alias: str) -> None:
        self._aliases: Mapping[str, AdapterRef] = {default_alias: AdapterRef(default_alias, BASE_VERSION)}

    @property
    def aliases(self) -> Mapping[str, AdapterRef]:
        return self._aliases

    def point(self, alias: str, adapter: AdapterRef) -> None:
        """From now on, new requests for the alias get this adapter."""
        self._aliases = {**self._aliases, alias: adapter}

    def resolve(self, model: str, resident: frozenset[AdapterRef]) -> Route:
        """`model` is an alias, or an exact resident version such as `shop@v3`; raises NotFound."""
        if (adapter := self._aliases.get(model)) is not None:
            return Route(model, adapter, "live", 1.0)
        try:
            exact = AdapterRef.parse(model)
        except ValueError:
            exact = None
        if exact is not None and (exact in resident or (exact.is_base and exact.name in self._aliases)):
            return Route(exact.name, exact, "exact", 1.0)
        raise NotFound(f"The model '{model[:80]}' does not exist; GET /v1/models lists what does.")
