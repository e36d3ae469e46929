"""Makes background processes give way to those that serve customers.

On Linux a nice value, and SCHED_IDLE too, only count against others of the same session where sessions are scheduled
as groups (`autogroup` in sched(7)): beside another session both get half, and an engine whose threads wait for each
other by spinning falls to a tenth or less. So a background process leads a session of its own and makes that nice.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from shoptalk.clock import MACHINE

LOWEST = 19


def be_modest() -> None:
    """Take the lowest nice value, in a session of its own where possible (a shell's job stays in its shell's)."""
    os.nice(LOWEST)
    with contextlib.suppress(PermissionError):
        os.setsid()
    if os.getsid(0) == os.getpid():
        nice_session()


def idle() -> None:
    """Run only when no other process wants the processor; for a process that leads a session of its own."""
    if sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        nice_session()
    else:
        os.nice(LOWEST)


def nice_session(level: int = LOWEST) -> None:
    """Set the nice value of this process's session; do nothing where the kernel does not schedule by sessions."""
    for _ in range(20):
        try:
            Path("/proc/self/autogroup").write_text(str(level))
        except BlockingIOError:  # the kernel takes one such change in a tenth of a second, from anyone but root
            MACHINE.sleep(0.11)
        except OSError:
            return
        else:
            return
