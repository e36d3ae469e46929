"""A PostgreSQL server for the tests, from the programs installed on this machine. Knows no table.

It listens on a Unix socket in its own folder and syncs nothing to disk. PostgreSQL refuses to run as
root, so root starts it as another user.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import psycopg

USERS = ("postgres", "nobody")
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "listen_addresses=", "max_connections=60")


def find_programs() -> Path | None:
    """Return the folder with `initdb` and `pg_ctl`: from PATH, else Debian's newest. None where there is none."""
    if (found := shutil.which("initdb")) and shutil.which("pg_ctl"):
        return Path(found).resolve().parent
    folders = [p.parent for p in Path("/usr/lib/postgresql").glob("*/bin/initdb") if (p.parent / "pg_ctl").exists()]
    return max(folders, key=lambda p: float(p.parent.name), default=None)


class PostgresServer:
    """A server that runs while the context lasts, with a role `postgres` that needs no password."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            account = _first_user()
            self._as = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="shoptalk-pg-"))
        if self._as:
            os.chown(self.folder, self._as["user"], self._as["group"])
        data = str(self.folder / "data")
        self._run(
            "initdb", "--pgdata", data, "--username", "postgres", "--auth", "trust", "--no-sync", "--encoding=UTF8"
        )
        options = " ".join(f"-c {o}" for o in (*FAST, f"unix_socket_directories={self.folder}"))
        log = str(self.folder / "log")
        self._run("pg_ctl", "start", "--wait", "--silent", "--pgdata", data, "--log", log, "--options", options)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run("pg_ctl", "stop", "--mode", "immediate", "--silent", "--pgdata", str(self.folder / "data"))
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def create(self, template: str | None = None) -> str:
        """Create a database, empty or as a copy of another. Return its name."""
        name = f"t_{uuid4().hex[:16]}"
        self._admin(f"create database {name}" + (f" template {template}" if template else ""))
        return name

    def drop(self, name: str) -> None:
        self._admin(f"drop database {name} with (force)")

    def _admin(self, statement: str) -> None:
        with psycopg.connect(host=str(self.folder), user="postgres", dbname="postgres", autocommit=True) as conn:
            conn.execute(statement.encode())

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        # its output goes to a file: a pipe would stay open in the server and never end
        with (self.folder / f"{program}.out").open("w+") as out:
            done = subprocess.run(
                command, cwd=self.folder, stdout=out, stderr=out, check=False, timeout=120, **self._as
            )
            if done.returncode:
                out.seek(0)
                raise RuntimeError(f"{program} ended with status {done.returncode}: {out.read()[-800:]}")


def _first_user() -> pwd.struct_passwd:
    for name in USERS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("no user to run PostgreSQL as")
