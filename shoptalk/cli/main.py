"""The command line. Loads nothing heavy until a command needs it; an error is a line with its fix, not a traceback."""

from __future__ import annotations

import os
import sys

import typer
from sqlalchemy.exc import SQLAlchemyError

from shoptalk.cli import (
    batches,
    demo,
    doctor,
    erase,
    evaluate,
    gate,
    ingest,
    keys,
    label,
    lineage,
    monitor,
    quarantine,
    release,
    round,
    scrub,
    secrets,
    serve,
    setup,
    train,
    up,
    worker,
)  # fmt: skip
from shoptalk.errors import ShoptalkError
from shoptalk.file_modes import private_umask
from shoptalk.settings import unknown_variables
from shoptalk.terminal import printable

app = typer.Typer(
    name="shoptalk",
    help="A customer-service chatbot that keeps learning from its own conversations.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
COMMANDS = (
    setup, up, serve, worker, doctor, demo, keys, secrets, ingest, batches, quarantine, scrub, lineage, erase, label,
    train, evaluate, gate, release, monitor, round,
)  # fmt: skip
for command in COMMANDS:
    command.add(app)


def main() -> None:
    """Run the command that was typed; the console script's entry point."""
    private_umask()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # an engine's thread that waits for another spins for about 0.2 ms, then sleeps: libgomp's default, some
    # milliseconds, makes a step up to fifty times as long beside a busy neighbour (docs/log.md)
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    for line in unknown_variables(os.environ):
        sys.stderr.write(f"shoptalk: warning: {line}\n")
    try:
        app()
    except ShoptalkError as error:
        _report(error)
        sys.exit(2)
    except (SQLAlchemyError, OSError) as error:
        from shoptalk.store.failures import explain

        if isinstance(error, BrokenPipeError):  # whoever read the output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        _report(explain(error))
        sys.exit(2)


def _report(error: ShoptalkError) -> None:
    """Print the problem, and the fix on a line of its own. They may quote a file or an argument."""
    lines = [f"shoptalk: {error.problem}", *([f"fix: {error.fix}"] if error.fix else [])]
    sys.stderr.write("".join(f"{printable(line)}\n" for text in lines for line in text.split("\n")))
