"""Signs of life of this host's workers: a file each, in which a worker writes what its lanes do.

`shoptalk worker --check` reads them. Knows nothing of what lanes work on.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shoptalk.clock import MACHINE
from shoptalk.executors import Executors
from shoptalk.processes.lanes import LaneState

STALE_S: Final = 60.0  # a worker writes every 5 s, and a busy machine may delay it


@dataclass(frozen=True, slots=True)
class Sign:
    """A worker's last sign of life."""

    worker: str
    #: seconds since then
    age_s: float
    lanes: tuple[LaneState, ...]

    @property
    def works(self) -> bool:
        """Return whether it is recent, and no lane hangs."""
        return self.age_s < STALE_S and not any(lane.hangs for lane in self.lanes)


class Heartbeat:
    """The signs of workers, beside the locks of their ids."""

    def __init__(self, executors: Executors) -> None:
        self._executors = executors

    def beat(self, worker: str, lanes: Sequence[LaneState]) -> None:
        """Record that a worker is alive, and what its lanes do."""
        path = self._path(worker)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps([dataclasses.asdict(lane) for lane in lanes]))
        draft.replace(path)

    def stop(self, worker: str) -> None:
        """Remove a worker's sign, when it ends in order."""
        self._path(worker).unlink(missing_ok=True)

    def signs(self) -> list[Sign]:
        """Return the signs of this host's workers, without those whose process has ended."""
        found = (self._read(path) for path in sorted(self._executors.folder.glob(f"{self._executors.prefix}*.alive")))
        return [sign for sign in found if sign is not None]

    def _path(self, worker: str) -> Path:
        return self._executors.folder / f"{worker}.alive"

    def _read(self, path: Path) -> Sign | None:
        try:
            lanes: list[dict[str, Any]] = json.loads(path.read_text())
            age = max(0.0, MACHINE.unix() - path.stat().st_mtime)
        except FileNotFoundError:  # it ended in between
            return None
        if not self._executors.runs(path.stem):
            return None
        return Sign(path.stem, age, tuple(LaneState(**lane) for lane in lanes))
