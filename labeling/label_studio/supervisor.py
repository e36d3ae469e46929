"""Runs one command, and ends it with all its processes as soon as the process that asked for it is gone.

It is run as a script (`python supervisor.py COMMAND ...`) in a session of its own, and uses only the standard library.
It does not know Label Studio. The process that started it holds the other end of its standard input: when that closes,
on purpose or by a crash, or when that process is no longer its parent, the command's whole process group gets SIGTERM
and then SIGKILL.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1  # as in shoptalk/processes/parent_death.py, which this script cannot import
GRACE_S = 5.0


def _die_with_parent() -> None:
    """On Linux, make the kernel end the command if this supervisor is killed."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _nice_session(level: str) -> None:
    """Where the kernel schedules by sessions, lower this session's priority (see shoptalk/processes/priority.py)."""
    for _ in range(20):
        try:
            Path("/proc/self/autogroup").write_text(level)
        except BlockingIOError:  # too many such changes at once
            time.sleep(0.11)
        except OSError:
            return
        else:
            return


def _finish(child: subprocess.Popen[bytes]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the group's signal reaches this process too
    with contextlib.suppress(ProcessLookupError):
        os.killpg(os.getpgrp(), signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    while child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main(command: list[str]) -> int:
    """Run the command; return its exit code if it ends by itself."""
    parent = os.getppid()
    os.umask(0o077)  # only this user may read annotators' texts and Label Studio's secrets
    os.nice(10)  # the shop's customers come first; see docs/log.md
    if os.getpgrp() != os.getpid():  # never signal a group that is not ours
        os.setsid()
    _nice_session("10")
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent)  # noqa: PLW1509 (one thread)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _finish(child))
    while child.poll() is None:
        ready, _, _ = select.select([sys.stdin], [], [], 0.2)
        if (ready and not os.read(sys.stdin.fileno(), 1024)) or os.getppid() != parent:
            _finish(child)
    return child.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
