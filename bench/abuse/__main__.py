"""Honest customers beside visitors who take as much as the limits allow: do they notice, and how soon is it over?

Usage: python -m bench.abuse [--seconds 120] [--visitors 200] [--only flood,texts,ids] [--costly] [--json OUT]

Four clients with keys and four visitors each send a message every 5 s, every client from its own address in
127.0.0.0/8. Beside them run, one after the other:
  rest   nobody who abuses the server
  flood  many visitors who take as much as the limits allow
  texts  visitors who send hostile texts
  ids    visitors who use the conversation ids of the others
At rest the load generator is kept equally busy against a bare server in another process, since it shares the cores.

The attackers are the harder of two kinds: they ignore `Retry-After` and try again after one second, with two requests
at a time each, and with a new cookie whenever they are refused. `--costly` adds the costly fields, for servers that
still allow them. Number and time are bounded, and nothing leaves 127.0.0.0/8.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from pathlib import Path

import uvloop

from bench.abuse.clients import Door, Json
from bench.abuse.report import table
from bench.abuse.scene import HONEST, Scene
from bench.abuse.servers import bare_server
from shoptalk.domain import Scope
from tests.e2e.stack import Stack, models_folder


def measure(options: argparse.Namespace) -> Json:
    """Play the phase at rest and those asked for against one server. Return all metrics."""
    phases = ["rest", *options.only.split(",")]
    with contextlib.ExitStack() as opened:
        folder, bare = opened.enter_context(tempfile.TemporaryDirectory()), opened.enter_context(bare_server())
        with Stack(Path(folder) / "home", engine=options.engine, models=models_folder()) as stack:
            stack.environment.pop("OMP_WAIT_POLICY")
            keys = [stack.key(Scope.CHAT) for _ in range(HONEST)]
            stack.start("serve")
            scene = Scene(
                Door(stack.settings.port), Door(bare), keys, stack.processes["serve"].pid,
                options.seconds, options.visitors, options.costly,
            )  # fmt: skip
            rows = {}
            for name in phases:
                rows[name] = uvloop.run(scene.play(name))
                print(f"{name}: {json.dumps(rows[name])}", file=sys.stderr, flush=True)
            traces = stack.log("serve").count("Traceback")
    rest = rows["rest"]["keys_first_p95_ms"]
    ratios = {name: round(row["keys_first_p95_ms"] / rest, 2) if rest else None for name, row in rows.items()}
    return {"seconds": options.seconds, "visitors": options.visitors, "costly": options.costly,
            "phases": rows, "ratios": ratios, "tracebacks": traces}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m bench.abuse", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=120.0, help="of each phase")
    parser.add_argument("--visitors", type=int, default=200)
    parser.add_argument("--only", default="flood,texts,ids")
    parser.add_argument("--engine", default="embedded")
    parser.add_argument("--costly", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = measure(options)
    print(table(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
