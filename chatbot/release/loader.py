"""Makes a registered adapter resident: verified bytes from the registry into the engine. Knows no alias."""

from __future__ import annotations

from chatbot.engine.protocol import Engine
from shoptalk.domain import AdapterRef
from shoptalk.registry import Registry


class Loader:
    """Thread-safe; blocks while it loads."""

    def __init__(self, registry: Registry, engine: Engine) -> None:
        self._registry, self._engine = registry, engine

    def ensure(self, ref: AdapterRef) -> None:
        """Resident afterwards; raises NotFound, AdapterRefused, NoFreeSlot."""
        if not ref.is_base and ref not in self._engine.resident():
            self._engine.load(ref, self._registry.resolve(ref, base_sha256=self._engine.base_sha256))
