"""Deletes folders that this program made. Knows nothing of what is in them."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path


def remove_folder(path: Path) -> None:
    """Remove a folder of ours, as far as possible; a symbolic link in its place goes itself, never what it leads to."""
    if path.is_symlink():
        with contextlib.suppress(OSError):
            path.unlink()
    elif path.is_dir():  # a file of that name is not ours
        shutil.rmtree(path, ignore_errors=True)
