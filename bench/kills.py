"""Processes are killed hundreds of times while customers chat: is anything acknowledged lost or doubled?

Usage: python -m bench.kills [--kills 200] [--turns 20000] [--database sqlite|postgres|both] [--json OUT]

The null engine answers; four customers chat, repeat a fifth of their requests and whatever fails; the API is killed
with SIGKILL each time, the worker every third time. The PostgreSQL server is not killed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.e2e.kills import chat_while_killed, faults
from tests.e2e.stack import Stack
from tests.postgres import PostgresServer, find_programs


def measure(database: str, kills: int, turns: int) -> dict[str, Any]:
    """Run the loop of kills on one kind of database. Return what was acknowledged and what is wrong afterwards."""
    with ExitStack() as around:
        home = Path(around.enter_context(tempfile.TemporaryDirectory())) / "home"
        values = {}
        if database == "postgres":
            programs = find_programs()
            if programs is None:
                sys.exit("PostgreSQL's server programs are not installed")
            server = around.enter_context(PostgresServer(programs))
            values["database_url"] = server.url(server.create())
        stack = around.enter_context(Stack(home, **values))
        began = time.perf_counter()
        stack.start("serve")

        def report(kill: int, acknowledged: int) -> None:
            if kill % 20 == 0:
                print(f"{database}: {kill} kills, {acknowledged} turns acknowledged", file=sys.stderr, flush=True)

        kept = chat_while_killed(stack, kills, -(-turns // kills), report)
        found = faults(stack, kept)
        for fault in found[:20]:
            print(fault, file=sys.stderr)
        return {
            "database": database, "kills": kills, "turns_acknowledged": kept.turns, "feedback": len(kept.ratings),
            "repeated": kept.repeated, "lost_or_doubled": len(found), "seconds": round(time.perf_counter() - began),
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--turns", type=int, default=20_000)
    parser.add_argument("--database", choices=["sqlite", "postgres", "both"], default="both")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    databases = ["sqlite", "postgres"] if options.database == "both" else [options.database]
    rows = [measure(database, options.kills, options.turns) for database in databases]
    print(json.dumps(rows, indent=1))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    sys.exit(any(row["lost_or_doubled"] for row in rows))


if __name__ == "__main__":
    main()
