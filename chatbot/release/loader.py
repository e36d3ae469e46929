"""The adapter loader: verified files from the registry into the engine. Knows no alias."""

from __future__ import annotations

import threading
import time

import structlog

from chatbot.engine.protocol import Engine
from shoptalk.clock import MACHINE
from shoptalk.domain import AdapterRef
from shoptalk.errors import NoFreeSlot
from shoptalk.models.registry import Registry

PAUSE_S = 0.03  # so that no step of the engine has to give its cores up for reading and loading both
log = structlog.get_logger(__name__)


class Loader:
    """Makes registered adapters resident. Thread-safe; blocks while it loads."""

    def __init__(self, registry: Registry, engine: Engine, slots: int) -> None:
        self._registry, self._engine, self._slots = registry, engine, slots
        self._one = threading.Lock()

    def ensure(self, ref: AdapterRef) -> None:
        """Make an adapter resident. Raises NotFound, AdapterRefused, NoFreeSlot."""
        if ref.is_base or ref in self._engine.resident():
            return
        with self._one:  # others who want it too wait, and find it there
            if ref in self._engine.resident():
                return
            if self._engine.metrics()["held"] >= self._slots:  # before its files are read for nothing
                raise NoFreeSlot
            self._load(ref)

    def ensure_if_room(self, ref: AdapterRef) -> None:
        """Make an adapter resident where no other has to leave for it, else raise NoFreeSlot."""
        with self._one:
            resident = self._engine.resident()
            if ref.is_base or ref in resident:
                return
            if len(resident) >= self._slots:
                raise NoFreeSlot
            self._load(ref)

    def _load(self, ref: AdapterRef) -> None:
        began = time.perf_counter()
        files = self._registry.resolve(ref, base_sha256=self._engine.base_sha256)
        read = time.perf_counter()
        MACHINE.sleep(PAUSE_S)
        resumed = time.perf_counter()
        self._engine.load(ref, files)
        done = time.perf_counter()
        log.info("adapter loaded", adapter=str(ref), read_ms=_ms(read - began), load_ms=_ms(done - resumed))


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 1)
