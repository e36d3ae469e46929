"""The ids of worker processes: each belongs to one process at a time, guarded by a file lock.

An id is `<host>-<folder>-<number>`. The middle part is made at random once for each data folder, so that two hosts of
one name, which have no folder in common, are distinguished. A process that starts again gets its former id.
"""

from __future__ import annotations

import fcntl
import secrets
import socket
from pathlib import Path
from typing import IO, Final

from shoptalk.errors import ConfigurationError

MOST: Final = 64  # workers of one host and folder
LONGEST_HOST: Final = 60  # characters of a host's name that are used


class Executors:
    """The executors of one data folder, which several hosts may share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def prefix(self) -> str:
        """Return how the ids of this host's executors begin."""
        return f"{socket.gethostname()[:LONGEST_HOST]}-{self._folder_id()}-"

    def take(self) -> tuple[str, IO[str]]:
        """Return a free id and its lock, which is let go when it is closed. Raises ConfigurationError for too many."""
        prefix = self.prefix
        for number in range(MOST):
            name = f"{prefix}{number}"
            handle = self._lock(name).open("w")
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.close()
                continue
            return name, handle
        raise ConfigurationError(f"{MOST} workers already run on this machine")

    def runs(self, name: str) -> bool | None:
        """Return whether a process has this id now; None where it has no lock here, as one of another folder."""
        try:
            handle = self._lock(name).open("r+")
        except FileNotFoundError:
            return None
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def _lock(self, name: str) -> Path:
        return self.folder / f"{name}.lock"

    def _folder_id(self) -> str:
        path = self.folder / "id"
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f"id.{secrets.token_hex(4)}"
        if not path.exists():
            draft.write_text(secrets.token_hex(4))
            try:
                path.hardlink_to(draft)  # of two processes, one makes it
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        return path.read_text().strip()
