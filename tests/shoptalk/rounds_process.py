"""A process with real durable rounds and made-up steps, for `test_jobs`: it can be asked to die at a step.

Arguments: folder, mode, and the URL of DBOS's database unless that is SQLite in the folder. `work` starts a round
and runs until it ends, `elsewhere` does so as another host with a folder of its own; `sweep` runs until a round was
taken over and ended. The step named in `die.txt` kills this
process after its effect, before DBOS hears of it.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shoptalk.errors import LeakageError, NotEnoughData
from shoptalk.executors import Executors
from shoptalk.rounds.workflow import Jobs

LONGEST_S = 60.0


class FakeSteps:
    """Steps with an effect keyed by (round, step), as real ones have."""

    names = ("sample", "labels", "train", "release")

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._db = folder / "effects.db"
        with sqlite3.connect(self._db) as db:
            db.execute("create table if not exists effects (round text, step text, unique (round, step))")
            db.execute("create table if not exists calls (step text)")
            db.execute("create table if not exists stumbles (step text, problem text)")
            db.execute("create table if not exists ends (outcome text, problem text)")

    def run(self, name: str, round_id: str) -> Mapping[str, Any]:
        with sqlite3.connect(self._db) as db:
            db.execute("insert into calls values (?)", (name,))
            new = db.execute("insert or ignore into effects values (?, ?)", (round_id, name)).rowcount
        if new:
            self._die_at(name)
        waits = name == "labels" and (self._folder / "wait.txt").exists()
        if waits and (self._folder / "stumble.txt").exists() and self.calls(name) % 2 == 0:
            raise OSError("the database is away")
        if waits and self.calls(name) < (9 if (self._folder / "stumble.txt").exists() else 3):
            return {"wait": True}
        fail = self._folder / f"fail-{name}.txt"
        if fail.exists():
            kind = fail.read_text()
            if kind == "passing" and self.calls(name) < 6:
                raise OSError("the disk is full")
            if kind == "final":
                raise LeakageError("train and holdout share 2 of group")
            if not kind:
                raise NotEnoughData("there are 3 labels")
        if (self._folder / f"end-{name}.txt").exists():
            return {"end": "rejected"}
        return {"step": name}

    def stumble(self, name: str, round_id: str, problem: str) -> None:
        with sqlite3.connect(self._db) as db:
            db.execute("insert into stumbles values (?, ?)", (name, problem))

    def finish(self, round_id: str, outcome: str, problem: str | None) -> None:
        with sqlite3.connect(self._db) as db:
            if db.execute("insert or ignore into effects values (?, 'finish')", (round_id,)).rowcount:
                db.execute("insert into ends values (?, ?)", (outcome, problem))
        self._die_at("finish")

    def _die_at(self, name: str) -> None:
        order = self._folder / "die.txt"
        if order.exists() and order.read_text() == name:
            order.unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    def calls(self, name: str) -> int:
        with sqlite3.connect(self._db) as db:
            return int(db.execute("select count(*) from calls where step = ?", (name,)).fetchone()[0])

    def ended(self) -> bool:
        with sqlite3.connect(self._db) as db:
            return bool(db.execute("select 1 from ends").fetchone())


def main(folder: Path, mode: str, url: str | None = None) -> None:
    """Until the round ended."""
    steps = FakeSteps(folder)
    executors = Executors(folder / ("elsewhere" if mode == "elsewhere" else "executors"))
    url = url or f"sqlite:///{folder / 'jobs.db'}"
    jobs = Jobs(url, executors, steps, lambda _: not (folder / "silent.txt").exists())
    jobs.start()
    sys.stdout.write(f"{jobs.executor}\n")
    sys.stdout.flush()
    if mode in ("work", "stop", "elsewhere"):
        for _ in range(2):  # asking twice starts it once
            jobs.ensure("rnd_1")
    deadline = time.monotonic() + LONGEST_S
    while not steps.ended() and time.monotonic() < deadline:
        if mode == "stop" and steps.calls("labels"):
            break
        if mode == "sweep":
            jobs.sweep()
        time.sleep(0.05)
    jobs.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
