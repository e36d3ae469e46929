"""Keep the adapters on the vLLM server as they should be: these and no others.

Each has a name of its own there, and is unloaded only when no request holds it. The base model is one of them, as an
adapter of zeros: on CPUs vLLM computes sequences without any adapter with whichever is in its last slot
(vllm-project/vllm#48421), so no sequence may be without one. Knows no request.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from chatbot.engine.slots import all_held, not_resident
from chatbot.engine.vllm.adapters import AdapterFolder
from chatbot.engine.vllm.client import VllmClient, VllmRefused
from shoptalk.domain import BASE_VERSION, AdapterRef
from shoptalk.errors import AdapterRefused
from shoptalk.models.adapterfile import AdapterFiles

log = structlog.get_logger(__name__)
BASE = AdapterRef("base", BASE_VERSION)


@dataclass(slots=True)
class ResidentAdapter:
    """An adapter the server should have. Its files are kept to load it again where the server loses it."""

    name: str
    files: AdapterFiles
    holders: int = 0  # requests that use it


class ResidentAdapters:
    """The adapters the server should have, up to `slots`.

    Plain methods may be called from any thread, coroutines in the engine's event loop only.
    """

    def __init__(self, client: VllmClient, folder: AdapterFolder, slots: int) -> None:
        self._client, self._folder, self._slots = client, folder, slots
        self._lock = threading.Lock()
        self._all: OrderedDict[AdapterRef, ResidentAdapter] = OrderedDict()  # most recently used last
        self._changing = asyncio.Lock()  # held while the server's adapters change

    def refs(self) -> Sequence[AdapterRef]:
        """Return the resident adapters, without the base model."""
        with self._lock:
            return [ref for ref in self._all if ref != BASE]

    def held(self) -> int:
        """Return how many adapters requests hold, without the base model."""
        with self._lock:
            return sum(bool(one.holders) for ref, one in self._all.items() if ref != BASE)

    def hold(self, adapter: AdapterRef) -> str:
        """Return the adapter's name on the server; it stays there until `release`. Raises NotFound."""
        with self._lock:
            found = self._all.get(_key(adapter))
            if found is None:
                raise not_resident(adapter)
            found.holders += 1
            self._all.move_to_end(_key(adapter))
            return found.name

    def release(self, adapter: AdapterRef) -> None:
        """Undo one `hold`."""
        with self._lock:
            self._all[_key(adapter)].holders -= 1

    def drop(self, adapter: AdapterRef) -> bool:
        """Forget an adapter unless a request holds it; return whether it is gone. `reconcile` then unloads it."""
        with self._lock:
            found = self._all.get(adapter)
            if found is not None and found.holders:
                return False
            self._all.pop(adapter, None)
            return True

    async def load(self, adapter: AdapterRef, files: AdapterFiles) -> None:
        """Load an adapter; it evicts the least recently used that no request holds.

        Raises AdapterRefused; NoFreeSlot where all are held.
        """
        async with self._changing:
            with self._lock:
                if adapter in self._all:
                    return
                full = self._to_evict(adapter) is not None
            name = self._folder.name(adapter, files)
            if name not in {card.name for card in await self._client.cards()}:
                await self._install(name, files)
            try:
                with self._lock:
                    if idle := self._to_evict(adapter):
                        del self._all[idle]
                    self._all[adapter] = ResidentAdapter(name, files)
            finally:
                if full:
                    await self._reconcile()

    async def unload_all(self) -> None:
        """Unload all adapters from the server, the base model's too."""
        with self._lock:
            self._all.clear()
        await self.reconcile()

    async def reconcile(self) -> None:
        """Load the adapters that the server lost, and unload those that were dropped or that a crash left."""
        async with self._changing:
            await self._reconcile()

    async def _reconcile(self) -> None:
        found = await self._client.cards()
        with self._lock:
            wanted = {one.name: one.files for one in self._all.values()}
        for name in wanted.keys() - {card.name for card in found}:
            log.warning("vLLM lost an adapter; loading it again", name=name)
            await self._install(name, wanted[name])
        for card in found:
            if card.name not in wanted and card.root == self._folder.path_of(card.name):
                await self._client.unload(card.name)
        await asyncio.to_thread(self._folder.keep_only, frozenset(wanted))

    def _to_evict(self, adapter: AdapterRef) -> AdapterRef | None:
        """Return the adapter to evict for a new one; None where there is room. Raises NoFreeSlot."""
        others = [ref for ref in self._all if ref != BASE]
        if adapter == BASE or len(others) < self._slots:
            return None
        idle = next((ref for ref in others if not self._all[ref].holders), None)
        if idle is None:
            raise all_held(self._slots)
        return idle

    async def _install(self, name: str, files: AdapterFiles) -> None:
        try:
            await asyncio.to_thread(self._folder.write, name, files)
            await self._client.load(name, self._folder.path_of(name))
        except VllmRefused as error:
            unread = "No adapter found" in error.message
            raise AdapterRefused(
                f"vLLM refused the adapter: {error.message}",
                fix=f"let it read {self._folder.path} (SHOPTALK_VLLM_ADAPTERS_MODE, _GROUP)" if unread else None,
            ) from error
        except OSError as error:
            raise AdapterRefused(f"{self._folder.path} cannot be written ({error.strerror})") from error


def _key(adapter: AdapterRef) -> AdapterRef:
    return BASE if adapter.is_base else adapter
