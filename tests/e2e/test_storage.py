"""A full disk and a folder that cannot be written: a clear error, and nothing acknowledged is lost.

On real file systems of a few megabytes, which only root may mount.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from shoptalk.processes.sockets import free_port
from shoptalk.store.ingest import inbox
from shoptalk.store.schema import turns
from tests.e2e.stack import Stack, until

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An empty disk of eight megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=False).returncode
    ):
        pytest.skip("only root may mount a disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


def ask(http: httpx.Client, question: str) -> httpx.Response:
    return http.post(
        "/v1/chat/completions", json={"model": "shop", "messages": [{"role": "user", "content": question}]}
    )


def fill(disk: Path, leave: int = 0) -> Path:
    """Take all of the disk but some bytes."""
    free = os.statvfs(disk)
    ballast = disk / "ballast"
    ballast.write_bytes(b"\0" * (free.f_bavail * free.f_frsize - leave))
    return ballast


def drained(stack: Stack) -> list[sa.Row[Any]]:
    """Every turn, once a worker has admitted all."""

    def empty() -> bool:
        with stack.parts.store.read() as conn:
            return inbox.count(conn) == 0

    until(empty, "the drain")
    with stack.parts.store.read() as conn:
        return list(conn.execute(sa.select(turns)))


def test_a_full_disk_while_customers_chat(disk: Path, tmp_path: Path) -> None:
    with Stack(disk / "home") as stack:
        stack.logs = tmp_path
        stack.start("serve")
        with stack.client() as http:
            acknowledged = [ask(http, f"question {n}").json()["id"] for n in range(5)]
            ballast = fill(disk)
            refused = None
            while refused is None:
                answer = ask(http, "is there still room?")
                if answer.status_code == 200:
                    acknowledged.append(answer.json()["id"])
                else:
                    refused = answer
            assert refused.status_code == 503
            assert refused.json()["error"]["code"] == "store_unavailable"
            assert "Nothing was lost" in refused.json()["error"]["message"]
            assert http.get("/healthz").status_code == 200
            stack.start("worker")
            until(lambda: "the disk is full" in stack.log("serve"), "the reason in the log")
            ballast.unlink()
            acknowledged += [ask(http, f"question {n}").json()["id"] for n in range(5)]
        kept = [row.inference_id for row in drained(stack) if row.role == "assistant"]
        assert len(kept) == len(set(kept))
        assert set(acknowledged) <= set(kept)


def test_an_import_onto_a_full_disk_goes_on_when_there_is_room(disk: Path, tmp_path: Path) -> None:
    said = "the kettle leaks and I would like another one, please, as soon as you can send it. " * 20
    lines: list[dict[str, Any]] = [
        {
            "conversation_id": f"c{n}",
            "turns": [{"role": "customer", "text": f"{said} {n}"}, {"role": "agent", "text": said}],
        }
        for n in range(60)
    ]
    file = tmp_path / "conversations.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with Stack(disk / "home") as stack:
        stack.logs = tmp_path
        assert stack.parts.store
        ballast = fill(disk, 200_000)
        failed = stack.run("ingest", str(file))
        assert failed.returncode == 2, failed.stderr[-500:]
        assert "the disk is full\nfix: make room" in failed.stderr
        assert "Traceback" not in failed.stderr
        ballast.unlink()
        done = stack.run("ingest", str(file), "--json")
        assert done.returncode == 0, done.stderr[-500:]
        assert json.loads(done.stdout)["new"] < 60  # some were kept before
        stack.start("worker")
        assert len(drained(stack)) == 120


@pytest.mark.parametrize("command", [["serve"], ["worker"], ["keys", "list"]])
def test_a_folder_that_cannot_be_written(disk: Path, command: list[str]) -> None:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    settings = {"SHOPTALK_HOME": str(disk / "home"), "SHOPTALK_ENGINE": "null", "SHOPTALK_PORT": str(free_port())}
    environment = {**os.environ, **settings}
    words = [sys.executable, "-m", "shoptalk.cli", *command]
    done = subprocess.run(
        words,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    problem, fix = done.stderr.splitlines()[-2:]
    assert problem == "shoptalk: the data folder cannot be written"
    assert fix.startswith("fix: let this user write it")
    assert "Traceback" not in done.stderr
