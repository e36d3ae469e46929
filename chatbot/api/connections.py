"""Limits on connections, below HTTP: how many an address has open, and how long a head or a slow reader may take.

uvicorn itself ends only connections that are idle after an answer. A peer that is a trusted proxy may have any number.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S: Final = 20.0  # from the connection, or a request's first byte, to the end of its head
READ_S: Final = 60.0  # for a client to read what waits for it


def bounded_protocol(
    most: int,
    trusts: Callable[[str], bool],
    group: Callable[[str], str],
    head_s: float = HEAD_S,
    read_s: float = READ_S,
) -> type[HttpToolsProtocol]:
    """Return uvicorn's protocol with these limits; `group` names what connections are counted by."""
    counts: Counter[str] = Counter()

    class BoundedProtocol(HttpToolsProtocol):
        """One connection."""

        _timer: asyncio.TimerHandle | None = None
        _reader: asyncio.TimerHandle | None = None
        _counted: str | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            peer = self.client[0] if self.client else ""
            if not trusts(peer):
                self._counted = group(peer)
                counts[self._counted] += 1
                if counts[self._counted] > most:
                    transport.abort()
                    return
            self._await_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._timer, self._reader = _stop(self._timer), _stop(self._reader)
            if self._counted is not None:
                counts[self._counted] -= 1
                if not counts[self._counted]:
                    del counts[self._counted]
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._timer is None and (self.cycle is None or self.cycle.response_complete):
                self._await_head()
            super().data_received(data)

        def on_headers_complete(self) -> None:
            self._timer = _stop(self._timer)
            super().on_headers_complete()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._reader = self.loop.call_later(read_s, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._reader = _stop(self._reader)

        def _await_head(self) -> None:
            self._timer = self.loop.call_later(head_s, self.transport.close)

    return BoundedProtocol


def _stop(timer: asyncio.TimerHandle | None) -> Any:
    if timer is not None:
        timer.cancel()
