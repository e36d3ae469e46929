"""How pytest-xdist divides the tests among processes that run side by side.

A unit is a group of tests that one process runs in one go: those of a file, since they share what they started, with
the exceptions listed here. The longest units come first, so that the processes end together.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from xdist.scheduler import LoadScopeScheduling

# tests of these files share nothing that takes long to start: each test is a unit
SEPARATE = ("tests/e2e/test_gate_release.py", "tests/e2e/test_kill.py", "tests/e2e/test_demo.py")
# these start one server for each database: each database's tests are a unit
BY_DATABASE = ("tests/e2e/test_abuse.py",)
# these share a server between files
TOGETHER = ("tests/labeling/",)
# the longest first; next to the demo, which trains, those that wait more than they compute
LONGEST = (
    "tests/e2e/test_demo.py",
    "tests/e2e/test_kill.py",
    "tests/e2e/test_gate_release.py::test_an_adapter_trained",
    "tests/security/test_pumped_texts.py",
    "tests/e2e/test_attacks.py",
    "tests/e2e/test_planted_values.py",
    "tests/labeling/",
    "tests/e2e/test_erasure.py",
    "tests/chatbot/test_engine.py",
    "tests/chatbot/test_browser.py",
    "tests/shoptalk/test_jobs.py",
    "tests/security/",
    "tests/training/",
    "tests/e2e/",
    "tests/ingest/test_workers.py",
)


def unit_of(nodeid: str) -> str:
    """Return the unit that a test belongs to."""
    file, _, test = nodeid.partition("::")
    if file in SEPARATE:
        return nodeid
    if file in BY_DATABASE and "[" in test:
        return f"{file}[{'postgres' if 'postgres' in test.partition('[')[2] else 'sqlite'}]"
    return next((folder for folder in TOGETHER if file.startswith(folder)), file)


def queue_position(unit: str) -> int:
    """Return a unit's position in the queue. Units that are not listed follow in the order of collection."""
    return next((n for n, start in enumerate(LONGEST) if unit.startswith(start)), len(LONGEST))


def fault_file(run: str, worker: str) -> Path:
    """Return the file to which a process of a run writes its threads' stacks when a signal ends it."""
    return Path(tempfile.gettempdir()) / f"shoptalk-tests-{os.geteuid()}-{run}-{worker}.fault"


def crash_report(node: Any) -> str:
    """Return the exit status of one of xdist's processes, and the stacks that it wrote."""
    process = node.gateway._io.popen
    try:
        status = process.wait(10)
    except subprocess.TimeoutExpired:
        status = None
    path = fault_file(node.workerinput["testrunuid"], node.gateway.id)
    return f"exit status {status}\n{path.read_text() if path.exists() else ''}"


class UnitScheduling(LoadScopeScheduling):
    """xdist's scheduling by scope, with units as scopes."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)
