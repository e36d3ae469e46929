"""Records which peers sent forwarded headers without being named as proxies, in a file that `shoptalk doctor` reads.

All customers behind such a proxy share one limit. Anyone can send such headers, so this only says what to look at.
"""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path

import anyio.to_thread
import structlog

from chatbot.api.limits.bounded import Bounded

log = structlog.get_logger(__name__)
MOST = 64
OFTEN = 100  # requests of a public address before it is taken for a proxy; of a private one the first is enough


class UnnamedProxies:
    """The peers found so far: each is logged once, all are kept in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._counts: Bounded[int] = Bounded(MOST)
        self._found: list[str] = []

    async def note(self, peer: str) -> None:
        """Count a request with forwarded headers; record its peer once it looks like a proxy."""
        count = (self._counts.get(peer) or 0) + 1
        self._counts.put(peer, count)
        private = not ipaddress.ip_address(peer).is_global
        if peer in self._found or len(self._found) >= MOST or count < (1 if private else OFTEN):
            return
        self._found.append(peer)
        log.warning(
            "forwarded headers from a proxy that is not named: all customers behind it share one limit",
            proxy=peer,
            fix=f'SHOPTALK_TRUSTED_PROXIES=["{peer}"], if it is your proxy',
        )
        await anyio.to_thread.run_sync(self._write)

    def begin(self) -> None:
        """Delete the file of an earlier process: the settings may have changed since."""
        self._file.unlink(missing_ok=True)

    def _write(self) -> None:
        try:
            aside = self._file.with_name(f".{self._file.name}")
            aside.write_text(json.dumps({"peers": self._found}) + "\n")
            aside.replace(self._file)
        except OSError as error:
            log.warning("proxies that are not named could not be kept", problem=str(error.strerror))
