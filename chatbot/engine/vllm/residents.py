"""Which adapters the server should have, and seeing to it that it has these and no others.

Each is known there under a name of its own, and forgotten only when no request holds it. The base model is one of
them, as an adapter of zeros: on CPUs vLLM computes rows without any adapter with whichever is in its last slot
(vllm-project/vllm#48421), so no row may be without one. Knows no request.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from chatbot.engine.vllm.adapters import AdapterFolder
from chatbot.engine.vllm.client import VllmClient, VllmRefused
from shoptalk.domain import BASE_VERSION, AdapterRef
from shoptalk.errors import AdapterRefused, NoFreeSlot, NotFound
from shoptalk.models.adapterfile import AdapterFiles

log = structlog.get_logger(__name__)
PLAIN = AdapterRef("base", BASE_VERSION)
ACCESS = "See SHOPTALK_VLLM_ADAPTERS_MODE and _GROUP."


@dataclass(slots=True)
class Resident:
    """An adapter the server should have. Its files are kept for when the server loses it."""

    name: str
    files: AdapterFiles
    holders: int = 0


class Residents:
    """What is plain may be called from any thread; what waits, from the loop's."""

    def __init__(self, client: VllmClient, folder: AdapterFolder, slots: int) -> None:
        self._client, self._folder, self._slots = client, folder, slots
        self._lock = threading.Lock()
        self._all: OrderedDict[AdapterRef, Resident] = OrderedDict()  # most recently used last
        self._moving = asyncio.Lock()  # so that only one changes what the server has

    def refs(self) -> Sequence[AdapterRef]:
        """Without the base model."""
        with self._lock:
            return [ref for ref in self._all if ref != PLAIN]

    def held(self) -> int:
        """Adapters that requests hold, without the base model."""
        with self._lock:
            return sum(bool(one.holders) for ref, one in self._all.items() if ref != PLAIN)

    def hold(self, adapter: AdapterRef) -> str:
        """The adapter's name on the server, where it stays until it is released. Raises NotFound."""
        with self._lock:
            found = self._all.get(_key(adapter))
            if found is None:
                raise NotFound(f"adapter {adapter} is not resident")
            found.holders += 1
            self._all.move_to_end(_key(adapter))
            return found.name

    def release(self, adapter: AdapterRef) -> None:
        with self._lock:
            self._all[_key(adapter)].holders -= 1

    def drop(self, adapter: AdapterRef) -> bool:
        """Let nobody hold it any more, unless somebody does; `tidy` then takes it from the server."""
        with self._lock:
            found = self._all.get(adapter)
            if found is not None and found.holders:
                return False
            self._all.pop(adapter, None)
            return True

    async def load(self, adapter: AdapterRef, files: AdapterFiles) -> None:
        """The least recently used that nobody holds gives way. Raises AdapterRefused; NoFreeSlot where all are held."""
        async with self._moving:
            with self._lock:
                if adapter in self._all:
                    return
                full = self._giving_way(adapter) is not None
            name = self._folder.name(adapter, files)
            if name not in {card.name for card in await self._client.cards()}:
                await self._place(name, files)
            try:
                with self._lock:
                    if idle := self._giving_way(adapter):
                        del self._all[idle]
                    self._all[adapter] = Resident(name, files)
            finally:
                if full:
                    await self._tidy()

    async def leave(self) -> None:
        """Take all of them from the server."""
        with self._lock:
            self._all.clear()
        await self.tidy()

    async def tidy(self) -> None:
        """Give the server what it lost, and take what nobody wants: what was dropped, or what a crash left."""
        async with self._moving:
            await self._tidy()

    async def _tidy(self) -> None:
        found = await self._client.cards()
        with self._lock:
            wanted = {one.name: one.files for one in self._all.values()}
        for name in wanted.keys() - {card.name for card in found}:
            log.warning("vLLM lost an adapter; loading it again", name=name)
            await self._place(name, wanted[name])
        for card in found:
            if card.name not in wanted and card.root == self._folder.path_of(card.name):
                await self._client.unload(card.name)
        await asyncio.to_thread(self._folder.keep_only, frozenset(wanted))

    def _giving_way(self, adapter: AdapterRef) -> AdapterRef | None:
        """Which one goes should this one come; None where there is room. Raises NoFreeSlot."""
        others = [ref for ref in self._all if ref != PLAIN]
        if adapter == PLAIN or len(others) < self._slots:
            return None
        idle = next((ref for ref in others if not self._all[ref].holders), None)
        if idle is None:
            raise NoFreeSlot(f"all {self._slots} adapter slots are in use (SHOPTALK_ADAPTER_SLOTS)")
        return idle

    async def _place(self, name: str, files: AdapterFiles) -> None:
        try:
            await asyncio.to_thread(self._folder.write, name, files)
            await self._client.load(name, self._folder.path_of(name))
        except VllmRefused as error:
            hint = (
                f"; can it read {self._folder.path} (SHOPTALK_VLLM_ADAPTERS_MODE, _GROUP)?"
                if "No adapter found" in error.message
                else ""
            )
            raise AdapterRefused(f"vLLM refused it: {error.message}{hint}") from error
        except OSError as error:
            raise AdapterRefused(f"{self._folder.path} cannot be written ({error.strerror})") from error


def _key(adapter: AdapterRef) -> AdapterRef:
    return PLAIN if adapter.is_base else adapter
