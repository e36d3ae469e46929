"""A worker's signs of life, as a health check sees them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from shoptalk.cli.main import app
from shoptalk.executors import Executors
from shoptalk.processes.heartbeat import STALE_S, Heartbeat
from shoptalk.processes.lanes import LaneState


def ask(home: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, list[str]]:
    monkeypatch.setenv("SHOPTALK_HOME", str(home))
    result = CliRunner().invoke(app, ["worker", "--check"])
    return result.exit_code, result.output.splitlines()


def test_a_check_tells_a_worker_that_works_from_one_that_hangs_and_from_none(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executors = Executors(bare / "executors")
    heartbeat = Heartbeat(executors)
    assert ask(bare, monkeypatch) == (1, ["no worker runs here"])
    worker, lock = executors.take()
    with lock:
        fine = LaneState("intake", 1.0, None, 0.0, False)
        failing = LaneState("people", 3.0, None, 0.0, False, {"pull": "Label Studio does not answer"})
        heartbeat.beat(worker, [fine, failing])
        code, said = ask(bare, monkeypatch)
        assert (code, said[0].partition(",")[0]) == (0, f"{worker}: works")
        assert said[1:] == [
            "  intake: ended its last piece of work 1 s ago",
            "  people: ended its last piece of work 3 s ago",
            "    pull fails: Label Studio does not answer",
        ]
        heartbeat.beat(worker, [fine, LaneState("watch", 900.0, "drift", 901.0, True)])
        code, said = ask(bare, monkeypatch)
        assert (code, said[-1]) == (1, "  watch: hangs in drift for 901 s")
        heartbeat.beat(worker, [fine])
        long_ago = time.time() - STALE_S - 10
        os.utime(bare / "executors" / f"{worker}.alive", (long_ago, long_ago))
        code, said = ask(bare, monkeypatch)
        assert (code, said[0].partition(",")[0]) == (1, f"{worker}: hangs")
        heartbeat.beat(worker, [fine])
    assert ask(bare, monkeypatch) == (1, ["no worker runs here"])  # killed: its lock is free
    heartbeat.stop(worker)
    heartbeat.stop(worker)
    assert heartbeat.signs() == []


def test_processes_of_one_folder_have_ids_of_their_own_and_get_them_again(tmp_path: Path) -> None:
    executors, others = Executors(tmp_path / "a"), Executors(tmp_path / "b")
    first, one = executors.take()
    second, two = executors.take()
    elsewhere, three = others.take()
    assert len({first, second, elsewhere}) == 3  # another folder's is another, of a host of the same name too
    assert (executors.runs(first), executors.runs(elsewhere)) == (True, None)
    one.close()
    assert executors.runs(first) is False
    again, four = executors.take()
    assert again == first
    for handle in (two, three, four):
        handle.close()
