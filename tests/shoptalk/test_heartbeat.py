"""A worker's sign of life, as a health check sees it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from shoptalk.cli.main import app
from shoptalk.processes.heartbeat import STALE_S, Heartbeat


def ask(home: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    monkeypatch.setenv("SHOPTALK_HOME", str(home))
    result = CliRunner().invoke(app, ["worker", "--check"])
    return result.exit_code, result.output


def test_a_check_tells_a_worker_that_works_from_one_that_hangs_and_from_none(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign = Heartbeat(bare / "executors")
    assert ask(bare, monkeypatch) == (1, "no worker runs here\n")
    sign.beat()
    code, said = ask(bare, monkeypatch)
    assert (code, said.partition(":")[0]) == (0, "the worker works")
    long_ago = time.time() - STALE_S - 10
    os.utime(sign.path, (long_ago, long_ago))
    code, said = ask(bare, monkeypatch)
    assert (code, said.partition(":")[0]) == (1, "the worker hangs")
    sign.beat()
    assert (sign.age_s() or 0) < STALE_S
    sign.stop()
    assert sign.age_s() is None
    sign.stop()
