"""Ends a child process should its parent be killed outright, by prctl(2). On Linux only; elsewhere it does nothing."""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Callable
from typing import Final

PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def on_parent_death(number: signal.Signals) -> Callable[[], None] | None:
    """Return a function that asks the kernel to send this process a signal when its parent dies; None elsewhere.

    The C library is loaded here, so that the function is safe in a child between fork and exec.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, number)


def end_with_parent(number: signal.Signals) -> None:
    """Ask the kernel to send this process a signal when its parent dies."""
    if ask := on_parent_death(number):
        ask()
