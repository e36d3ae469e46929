"""Durable rounds on a real DBOS: killed at every step they resume, and every step takes effect once."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.postgres import PostgresServer

STEPS = ("sample", "labels", "train", "release", "finish")
ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.shoptalk.rounds_process", str(folder), *(arguments or ("work",))]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def work(folder: Path, *arguments: str) -> int:
    child = start(folder, *arguments)
    _, errors = child.communicate(timeout=90)
    assert child.returncode in (0, -signal.SIGKILL), errors[-2000:]
    return child.returncode


def rows(folder: Path, query: str) -> list[tuple[str, ...]]:
    with sqlite3.connect(folder / "effects.db") as db:
        return [tuple(row) for row in db.execute(query)]


def effects(folder: Path) -> list[str]:
    return [step for (step,) in rows(folder, "select step from effects order by rowid")]


def ends(folder: Path) -> list[tuple[str, ...]]:
    return rows(folder, "select * from ends")


@pytest.mark.parametrize("step", STEPS)
def test_a_round_killed_in_a_step_resumes_and_acts_once(tmp_path: Path, step: str) -> None:
    (tmp_path / "die.txt").write_text(step)
    assert work(tmp_path) == -signal.SIGKILL
    assert effects(tmp_path)[-1] == step
    assert work(tmp_path) == 0
    assert effects(tmp_path) == list(STEPS)
    assert ends(tmp_path) == [("done", None)]
    if step != "finish":  # what DBOS had heard of is not even called again
        calls = [name for (name,) in rows(tmp_path, "select step from calls")]
        assert calls == [s for s in STEPS[:-1] for _ in range(2 if s == step else 1)]


def test_a_step_that_waits_is_asked_again(tmp_path: Path) -> None:
    (tmp_path / "wait.txt").touch()
    assert work(tmp_path) == 0
    assert rows(tmp_path, "select count(*) from calls where step = 'labels'") == [(3,)]
    assert ends(tmp_path) == [("done", None)]


def test_an_orderly_stop_leaves_the_round_to_be_resumed_and_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "wait.txt").touch()
    child = start(tmp_path, "stop")
    _, errors = child.communicate(timeout=90)
    assert (child.returncode, errors) == (0, "")
    assert ends(tmp_path) == []
    assert work(tmp_path) == 0
    assert ends(tmp_path) == [("done", None)]
    assert effects(tmp_path) == list(STEPS)


def test_a_round_begun_by_an_older_version_goes_on(tmp_path: Path) -> None:
    (tmp_path / "wait.txt").touch()
    assert work(tmp_path, "stop") == 0
    with sqlite3.connect(tmp_path / "jobs.db") as db:
        assert db.execute("update workflow_status set application_version = 'round-1'").rowcount == 1
    assert work(tmp_path) == 0
    assert ends(tmp_path) == [("done", None)]
    assert effects(tmp_path) == list(STEPS)


def test_a_step_that_has_waited_may_fail_now_and_then(tmp_path: Path) -> None:
    (tmp_path / "wait.txt").touch()
    (tmp_path / "stumble.txt").touch()
    assert work(tmp_path) == 0
    assert ends(tmp_path) == [("done", None)]


def test_a_step_may_end_the_round(tmp_path: Path) -> None:
    (tmp_path / "end-train.txt").touch()
    assert work(tmp_path) == 0
    assert ends(tmp_path) == [("rejected", None)]
    assert "release" not in effects(tmp_path)


def test_a_failure_is_recorded_in_words(tmp_path: Path) -> None:
    (tmp_path / "fail-train.txt").touch()
    assert work(tmp_path) == 0
    ((outcome, problem),) = ends(tmp_path)
    assert outcome == "failed"
    assert "there are 3 labels" in problem


def test_a_failure_that_nobody_knows_is_tried_a_few_times(tmp_path: Path) -> None:
    (tmp_path / "fail-train.txt").touch()
    assert work(tmp_path) == 0
    assert rows(tmp_path, "select count(*) from calls where step = 'train'") == [(3,)]


def test_a_failure_that_will_come_again_ends_the_round_at_once(tmp_path: Path) -> None:
    (tmp_path / "fail-train.txt").write_text("final")
    assert work(tmp_path) == 0
    assert rows(tmp_path, "select count(*) from calls where step = 'train'") == [(1,)]
    assert ends(tmp_path) == [("failed", "train and holdout share 2 of group")]


def test_a_failure_that_may_pass_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "fail-train.txt").write_text("passing")
    assert work(tmp_path) == 0
    assert rows(tmp_path, "select count(*) from calls where step = 'train'") == [(6,)]
    assert rows(tmp_path, "select * from stumbles") == [("train", "storage failed: OSError")]  # once, not each time
    assert ends(tmp_path) == [("done", None)]


def test_a_workflow_that_broke_with_its_own_database_begins_again(tmp_path: Path) -> None:
    """The round is not finished, and what its steps did is kept elsewhere."""
    (tmp_path / "wait.txt").touch()
    assert work(tmp_path, "stop") == 0
    with sqlite3.connect(tmp_path / "jobs.db") as db:
        assert db.execute("update workflow_status set status = 'ERROR'").rowcount == 1
    assert work(tmp_path) == 0
    assert ends(tmp_path) == [("done", None)]
    assert effects(tmp_path) == list(STEPS)


@pytest.mark.parametrize("gone", [True, False])
def test_a_host_that_is_gone_is_known_by_its_silence(tmp_path: Path, gone: bool) -> None:
    """It has no lock in this one's folder."""
    (tmp_path / "wait.txt").touch()
    first = start(tmp_path, "elsewhere")
    assert first.stdout is not None
    one = first.stdout.readline().strip()
    deadline = time.monotonic() + 60
    while "labels" not in effects(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    if gone:
        (tmp_path / "silent.txt").touch()
    second = start(tmp_path, "sweep")
    assert second.stdout is not None
    assert second.stdout.readline().strip() != one  # though the host has the same name
    if gone:
        _, errors = second.communicate(timeout=90)
        assert second.returncode == 0, errors[-2000:]
        assert ends(tmp_path) == [("done", None)]
        assert effects(tmp_path) == list(STEPS)
    else:
        with pytest.raises(subprocess.TimeoutExpired):
            second.communicate(timeout=4)
        second.kill()
        second.communicate()
        assert ends(tmp_path) == []


def test_another_process_takes_over_what_a_dead_one_left(tmp_path: Path) -> None:
    (tmp_path / "wait.txt").touch()
    first = start(tmp_path)
    assert first.stdout is not None
    one = first.stdout.readline().strip()
    second = start(tmp_path, "sweep")
    assert second.stdout is not None
    other = second.stdout.readline().strip()
    assert one
    assert other
    assert one != other  # both run: an executor id belongs to one process
    first.send_signal(signal.SIGKILL)
    first.communicate()
    _, errors = second.communicate(timeout=90)
    assert second.returncode == 0, errors[-2000:]
    assert ends(tmp_path) == [("done", None)]
    assert effects(tmp_path) == list(STEPS)


@pytest.mark.postgres
def test_on_postgresql_rounds_make_their_own_database_and_resume(tmp_path: Path, postgres: PostgresServer) -> None:
    name = "jobs_of_their_own"
    (tmp_path / "die.txt").write_text("train")
    assert work(tmp_path, "work", postgres.url(name)) == -signal.SIGKILL
    assert work(tmp_path, "work", postgres.url(name)) == 0
    assert effects(tmp_path) == list(STEPS)
    assert ends(tmp_path) == [("done", None)]
    postgres.drop(name)


def test_workflow_state_holds_no_text(tmp_path: Path) -> None:
    (tmp_path / "fail-train.txt").touch()
    work(tmp_path)
    with sqlite3.connect(tmp_path / "jobs.db") as db:
        kept = [row[0] for row in db.execute("select serialization from workflow_status")]
    assert set(kept) == {"shoptalk_json"}
