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
class Slot(Generic[T]):
    """A resident adapter."""

    adapter: T
    holders: int = 0


class Slots(Generic[T]):
    """Room for `count` adapters; the least recently used that nobody holds gives way to a new one."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._lock = threading.Lock()
        self._slots: OrderedDict[AdapterRef, Slot[T]] = OrderedDict()  # most recently used last

    def __contains__(self, ref: AdapterRef) -> bool:
        with self._lock:
            return ref in self._slots

    def resident(self) -> Sequence[AdapterRef]:
        with self._lock:
            return sorted(self._slots, key=str)

    def held(self) -> int:
        """Slots that requests hold."""
        with self._lock:
            return sum(bool(slot.holders) for slot in self._slots.values())

    def hold(self, ref: AdapterRef) -> T | None:
        """The adapter, kept until `release`; None for the base model. Raises NotFound."""
        if ref.is_base:
            return None
        with self._lock:
            slot = self._slots.get(ref)
            if slot is None:
                raise NotFound(f"adapter {ref} is not resident")
            slot.holders += 1
            self._slots.move_to_end(ref)
            return slot.adapter

    def release(self, ref: AdapterRef) -> None:
        if not ref.is_base:
            with self._lock:
                self._slots[ref].holders -= 1

    def put(self, ref: AdapterRef, adapter: T) -> None:
        """Make resident unless it is; raises NoFreeSlot where every slot is held."""
        with self._lock:
            if ref in self._slots:
                return
            if len(self._slots) >= self._count:
                idle = next((r for r, slot in self._slots.items() if not slot.holders), None)
                if idle is None:
                    raise NoFreeSlot(f"all {self._count} adapter slots are in use (SHOPTALK_ADAPTER_SLOTS)")
                del self._slots[idle]
            self._slots[ref] = Slot(adapter)

    def drop(self, ref: AdapterRef) -> bool:
        """Free the slot unless it is held; says whether the adapter is gone."""
        with self._lock:
            slot = self._slots.get(ref)
            if slot is not None and slot.holders:
                return False
            self._slots.pop(ref, None)
            return True
