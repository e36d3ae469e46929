"""Shares templates between the pools of this process, since loading one takes seconds. Thread-safe."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from ingest.scrub.workers.template import Template


@dataclass(slots=True)
class _Share:
    template: Template
    pools: int = 0


_lock = threading.RLock()  # a pool that is forgotten may release its template while this thread is in here
_open: dict[tuple[str, ...], _Share] = {}  # by patterns


def acquire(patterns: Sequence[str]) -> Template:
    """Return the template with these patterns, which begins to load where there is none. Release it when done."""
    with _lock:
        share = _open.get(tuple(patterns))
        if share is None:
            share = _open[tuple(patterns)] = _Share(Template(patterns))
        share.pools += 1
        return share.template


def release(template: Template) -> None:
    """End the template where no other pool has it."""
    with _lock:
        share = _open[tuple(template.patterns)]
        share.pools -= 1
        if share.pools:
            return
        del _open[tuple(template.patterns)]
    template.close()
