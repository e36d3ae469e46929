"""Deletes folders that this program made. Knows nothing of what is in them."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path


def remove_folder(path: Path) -> None:
    """Remove a folder that this program made, as far as possible. A symbolic link is removed, never its target."""
    if path.is_symlink():
        with contextlib.suppress(OSError):
            path.unlink()
    elif path.is_dir():  # this program made no file of that name
        shutil.rmtree(path, ignore_errors=True)
