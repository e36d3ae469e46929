"""A worker's heartbeat: a file it touches between its other work, which `shoptalk worker --check` looks at.

Knows nothing of what the worker does. Workers of one host share the file, so it shows that one of them works.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Final

from shoptalk.clock import MACHINE

EVERY_S: Final = 5.0
STALE_S: Final = 300.0  # longer than a reconciler takes: the pull of some hundred tasks on a busy machine


class Heartbeat:
    """The heartbeat of this host's workers, in a folder that workers of several hosts may share."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{socket.gethostname()}.alive"

    def beat(self) -> None:
        """Record that the worker is alive."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()

    def age_s(self) -> float | None:
        """Return the seconds since the last beat; None where there was none."""
        try:
            return max(0.0, MACHINE.unix() - self.path.stat().st_mtime)
        except FileNotFoundError:
            return None

    def stop(self) -> None:
        """Remove the file, when the worker ends in order."""
        self.path.unlink(missing_ok=True)
