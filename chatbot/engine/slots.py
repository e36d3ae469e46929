"""Which adapters are resident, and how many requests hold each. Knows neither files nor tokens. Thread-safe."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from shoptalk.domain import AdapterRef
from shoptalk.errors import NoFreeSlot, NotFound

T = TypeVar("T")


@dataclass(slots=True)
class AdapterSlot(Generic[T]):
    """A resident adapter."""

    adapter: T
    holders: int = 0  # requests that use it


class AdapterSlots(Generic[T]):
    """Room for `count` adapters; a new one evicts the least recently used that no request holds."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._lock = threading.Lock()
        self._slots: OrderedDict[AdapterRef, AdapterSlot[T]] = OrderedDict()  # most recently used last

    def __contains__(self, ref: AdapterRef) -> bool:
        with self._lock:
            return ref in self._slots

    def resident(self) -> Sequence[AdapterRef]:
        """Return the resident adapters, sorted by name."""
        with self._lock:
            return sorted(self._slots, key=str)

    def held(self) -> int:
        """Return the number of slots that requests hold."""
        with self._lock:
            return sum(bool(slot.holders) for slot in self._slots.values())

    def hold(self, ref: AdapterRef) -> T | None:
        """Return the adapter and keep it until `release`; None for the base model. Raises NotFound."""
        if ref.is_base:
            return None
        with self._lock:
            slot = self._slots.get(ref)
            if slot is None:
                raise not_resident(ref)
            slot.holders += 1
            self._slots.move_to_end(ref)
            return slot.adapter

    def release(self, ref: AdapterRef) -> None:
        """Undo one `hold`."""
        if not ref.is_base:
            with self._lock:
                self._slots[ref].holders -= 1

    def put(self, ref: AdapterRef, adapter: T) -> None:
        """Make an adapter resident unless it is. Raises NoFreeSlot where every slot is held."""
        with self._lock:
            if ref in self._slots:
                return
            if len(self._slots) >= self._count:
                idle = next((r for r, slot in self._slots.items() if not slot.holders), None)
                if idle is None:
                    raise all_held(self._count)
                del self._slots[idle]
            self._slots[ref] = AdapterSlot(adapter)

    def drop(self, ref: AdapterRef) -> bool:
        """Free the slot unless it is held; return whether the adapter is gone."""
        with self._lock:
            slot = self._slots.get(ref)
            if slot is not None and slot.holders:
                return False
            self._slots.pop(ref, None)
            return True


def not_resident(ref: AdapterRef) -> NotFound:
    """Return the error for an adapter that was not loaded."""
    return NotFound(f"adapter {ref} is not resident")


def all_held(count: int) -> NoFreeSlot:
    """Return the error for a load while requests hold every slot."""
    return NoFreeSlot(f"all {count} adapter slots are in use (SHOPTALK_ADAPTER_SLOTS)")
