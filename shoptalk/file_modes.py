"""Keeps what the program writes to its owner: the umask of a process, and the modes of an older data folder.

Only names that shoptalk itself makes are changed, and only what this user owns; symbolic links are not followed. What
vLLM reads has modes of its own settings (see `chatbot.engine.vllm.adapters`).
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

UMASK: Final = 0o077
OTHERS: Final = 0o077  # the rights of the group and of everybody
DATABASES: Final = ("shoptalk.db", "jobs.db")
SIDE_FILES: Final = ("", "-wal", "-shm", "-journal")
FOLDERS: Final = ("artifacts", "executors", "kernels", "label-studio", "logs", "work", "demo")
FILES: Final = ("secret.key", "secret.key.lock", "first-admin-key", "report.html", "unnamed-proxies.json")
READ_BY_VLLM: Final = ("models", "vllm-adapters")


def private_umask() -> None:
    """Make files created from now on, by child processes too, this user's alone. Call once at an entry point."""
    os.umask(UMASK)


def tighten(home: Path) -> list[Path]:
    """Remove other users' rights from a data folder and what shoptalk keeps in it; return the paths that changed.

    A folder with other things in it keeps its own mode, because shoptalk is not its only user.
    """
    changed = [path for path in loose(home) if path != home and _take(path)]
    if home in loose(home) and _is_only_shoptalks(home) and _take(home):
        changed.append(home)
    return changed


def loose(home: Path) -> list[Path]:
    """Return the paths of a data folder on which other users have rights, itself first.

    What lies in a folder that they cannot enter does not count.
    """
    if not home.is_dir():
        return []
    found = [home] if is_loose(home) else []
    names = [f"{name}{side}" for name in DATABASES for side in SIDE_FILES]
    found += [path for name in (*names, *FILES) if is_loose(path := home / name)]
    for name in FOLDERS:
        if is_loose(folder := home / name):
            found += [*(path for path in _inside(folder) if is_loose(path)), folder]  # last, when all is done
    return found


def _inside(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder, topdown=False, followlinks=False):
        yield from (Path(place) / name for name in (*files, *folders))


def _is_only_shoptalks(home: Path) -> bool:
    known = {*FOLDERS, *FILES, *READ_BY_VLLM, *(f"{name}{side}" for name in DATABASES for side in SIDE_FILES)}
    return set(os.listdir(home)) <= known


def is_loose(path: Path) -> bool:
    """Return whether the group or everybody has a right on a path; False for links and what does not exist."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return not stat.S_ISLNK(found.st_mode) and bool(found.st_mode & OTHERS)


def _take(path: Path) -> bool:
    """Remove other users' rights and return whether that was possible; it is not for what belongs to another user.

    The file is never opened for reading: closing any handle of a database's file lets go of the locks that this process
    holds on it (sqlite.org/howtocorrupt.html, 2.2), and another process may then cut away what is still in use.
    """
    try:
        if sys.platform != "linux":
            found = path.lstat()
            if found.st_uid != os.geteuid() or stat.S_ISLNK(found.st_mode):
                return False
            os.chmod(path, stat.S_IMODE(found.st_mode) & ~OTHERS, follow_symlinks=False)
            return True
        handle = os.open(path, os.O_PATH | os.O_NOFOLLOW)
        try:
            found = os.fstat(handle)
            if found.st_uid != os.geteuid() or stat.S_ISLNK(found.st_mode):
                return False
            os.chmod(f"/proc/self/fd/{handle}", stat.S_IMODE(found.st_mode) & ~OTHERS)
        finally:
            os.close(handle)
    except OSError:
        return False
    return True
