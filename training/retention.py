"""Removes the folders of training runs that ended without being published."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from shoptalk.folders import remove_folder
from shoptalk.store import Store
from shoptalk.store.training import runs


class RunRetention:
    """A failed run's folder is kept for a while, for whoever looks why it failed."""

    name: Final = "folders of failed training runs"

    def __init__(self, store: Store, work: Path, days: float) -> None:
        self._store, self._work, self._kept = store, work, timedelta(days=days)

    def expired(self) -> int:
        """Return how many folders would be removed."""
        return len(self._old())

    def remove(self) -> int:
        """Remove them; return how many."""
        old = self._old()
        for folder in old:
            remove_folder(folder)
        return len(old)

    def _old(self) -> list[Path]:
        if not self._work.is_dir():
            return []
        before = self._store.clock.machine.now() - self._kept
        found = [path for path in self._work.iterdir() if path.is_dir() and not path.is_symlink()]
        old = [path for path in found if datetime.fromtimestamp(path.stat().st_mtime, UTC) < before]
        with self._store.read() as conn:
            known = {path: runs.find(conn, path.name) for path in old}
        return sorted(path for path, run in known.items() if run is None or run.state != "running")
