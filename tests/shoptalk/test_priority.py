"""Background processes give way: to their own session's processes, and to other sessions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

AUTOGROUP = Path("/proc/self/autogroup")
linux = pytest.mark.skipif(
    not AUTOGROUP.exists() or not AUTOGROUP.read_text(), reason="this kernel does not schedule by sessions"
)
SAY = """
import os, pathlib
print(os.sched_getscheduler(0) == os.SCHED_IDLE or os.nice(0), os.getsid(0) == os.getpid())
print(pathlib.Path("/proc/self/autogroup").read_text().rpartition("nice")[2].strip())
"""


def reported(call: str, *, own_session: bool) -> tuple[list[str], str]:
    code = f"from shoptalk.processes import priority\npriority.{call}\n{SAY}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, start_new_session=own_session
    )
    first, second = done.stdout.splitlines()
    return first.split(), second


@linux
def test_training_is_idle_and_so_is_its_session() -> None:
    assert reported("idle()", own_session=True) == (["True", "True"], "19")


@linux
@pytest.mark.parametrize("own_session", [True, False])
def test_a_worker_leads_a_nice_session(own_session: bool) -> None:
    assert reported("be_modest()", own_session=own_session) == (["19", "True"], "19")


@linux
def test_a_shells_job_stays_in_its_shells_session_and_leaves_it_alone() -> None:
    code = f"import os\nos.setpgid(0, 0)\nfrom shoptalk.processes.priority import be_modest\nbe_modest()\n{SAY}"
    before = AUTOGROUP.read_text()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0].split() == ["19", "False"]
    assert AUTOGROUP.read_text() == before
