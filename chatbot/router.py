"""The router: resolves a model name to one adapter version. Knows neither the engine nor the store.

An alias is looked up once per request, at admission; moving it never touches a request already admitted. Where an
alias's traffic is split between variants, a conversation keeps its variant as long as the split stands, and keeps it
when the share of a challenger grows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from shoptalk.domain import BASE_VERSION, EXACT_VARIANT, AdapterRef
from shoptalk.errors import ModelNotFound


@dataclass(frozen=True, slots=True)
class Route:
    """The adapter chosen for a request; `propensity` is the probability that this variant had of being chosen."""

    alias: str
    adapter: AdapterRef
    variant: str
    propensity: float


@dataclass(frozen=True, slots=True)
class Variant:
    """A challenger and its share of conversations, from 0 to 1."""

    name: str
    adapter: AdapterRef
    share: float


@dataclass(frozen=True, slots=True)
class Split:
    """The traffic split of an alias: the live adapter gets what the challengers' shares leave.

    `salt` makes experiments independent of each other.
    """

    live: AdapterRef
    challengers: tuple[Variant, ...] = ()
    salt: str = ""

    def __post_init__(self) -> None:
        shares = [c.share for c in self.challengers]
        if any(not 0 <= share <= 1 for share in shares) or sum(shares) > 1:
            raise ValueError("the challengers' shares must lie between 0 and 1, their sum too")


class Router:
    """The traffic splits of all aliases. The mapping is replaced as a whole on each change, so readers need no lock."""

    def __init__(self, default_alias: str) -> None:
        self._splits: Mapping[str, Split] = {default_alias: Split(AdapterRef(default_alias, BASE_VERSION))}

    @property
    def aliases(self) -> Mapping[str, AdapterRef]:
        """Return the live adapter of each alias."""
        return {alias: split.live for alias, split in self._splits.items()}

    def point(self, alias: str, adapter: AdapterRef) -> None:
        """Give new requests for the alias this adapter from now on."""
        self.split(alias, Split(adapter))

    def split(self, alias: str, split: Split) -> None:
        """Divide new requests for the alias so from now on."""
        self._splits = {**self._splits, alias: split}

    def resolve(self, model: str, conversation: str, allowed: Callable[[AdapterRef], bool]) -> Route:
        """Return the route of a request for `model`: an alias, or an exact version such as `shop@v3` where `allowed`.

        Raises ModelNotFound.
        """
        if (split := self._splits.get(model)) is not None:
            return _choose(model, split, conversation)
        try:
            exact = AdapterRef.parse(model)
        except ValueError:
            exact = None
        if exact is not None and ((exact.is_base and exact.name in self._splits) or allowed(exact)):
            return Route(exact.name, exact, EXACT_VARIANT, 1.0)
        raise unknown_model(model)


def unknown_model(model: str) -> ModelNotFound:
    """Return the error for a name that no model has."""
    return ModelNotFound(f"The model '{model[:80]}' does not exist", fix="GET /v1/models lists what does.")


def _choose(alias: str, split: Split, conversation: str) -> Route:
    position, reached = _position(f"{split.salt}\0{alias}\0{conversation}"), 0.0
    for variant in split.challengers:
        reached += variant.share
        if position < reached:
            return Route(alias, variant.adapter, variant.name, variant.share)
    return Route(alias, split.live, "live", 1.0 - sum(c.share for c in split.challengers))


def _position(text: str) -> float:
    """Return a number from 0 to 1 that looks random and is always the same for a text."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:8], "big") / 2**64
