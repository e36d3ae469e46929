"""How this process gets memory from the system. Linux with GNU's C library only; elsewhere nothing happens."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

M_MMAP_THRESHOLD: Final = -3  # malloc.h
APART: Final = 2 * 2**20  # bytes; more than a decode step ever allocates, less than a conversation's keys and values


def keep_large_apart() -> None:
    """Large buffers get pages of their own, which go back to the system when they are freed.

    Otherwise the first large one that is freed raises malloc's limit, later ones come from the heap, and what small
    things lie between them keeps their memory from being used again: a server under load grew by half a gigabyte.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(M_MMAP_THRESHOLD, APART)
